// Numbers to places and words.
import assert from "node:assert/strict";
import test from "node:test";
import { clock, errorHeight, errorRange, ink, joined, level, short, sigmaPoints, stairs } from "../../web/js/curves.js";

test("numbers and times as people read them", () => {
  assert.equal(short(0.037236), "0.0372");
  assert.equal(short(2.5), "2.5");
  assert.equal(short(14.6146), "14.6");
  assert.equal(clock(130), "2:10");
  assert.equal(clock(3725), "1:02:05");
  assert.equal(clock(-3), "0:00");
});

test("noise levels fall from the upper left to the lower right", () => {
  const box = { width: 100, height: 50, pad: 0 };
  assert.deepEqual(sigmaPoints([1, 0.5, 0], 1, true, box), [[0, 0], [50, 25], [100, 50]]);
  assert.equal(level(14.6, 14.6, false), 1);
  assert.equal(level(0, 14.6, false), 0);
  assert.ok(level(1, 14.6, false) > 0.3, "small levels have room");
});

test("an error holds until the next better one", () => {
  const box = { width: 100, height: 100, pad: 0 };
  const points = stairs([[0, 1], [50, 0.1]], 100, [0.1, 1], box);
  assert.deepEqual(points, [[0, 0], [50, 0], [50, 100]]);
});

test("the best built-in is always within the drawing, a wild first error is cut", () => {
  const range = errorRange([[0, 50], [10, 0.03]], 0.08);
  assert.ok(range[0] < 0.03 && range[1] > 0.08 && range[1] < 1);
  const box = { width: 10, height: 100, pad: 0 };
  assert.equal(errorHeight(50, range, box), 0);
  assert.deepEqual(errorRange([], null), [0.01, 1]);
});

test("points and ink", () => {
  assert.equal(joined([[1, 2], [3.14159, 4]]), "1.0,2.0 3.1,4.0");
  assert.equal(ink(-4, 4), 1);
  assert.equal(ink(0, 4), 0);
  assert.equal(ink(1, 0), 0);
});
