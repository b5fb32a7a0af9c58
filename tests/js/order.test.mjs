// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import { ordered } from "../../web/js/order.js";

test("what was measured here counts more than for what a preset was made", () => {
  const own = (error) => [{ model: "m", error, baseline_error: 0.2 }];
  const about = {
    "made": { model: "m", family: "F" }, "other": { model: "x", family: "G" }, "kin": { model: "y", family: "F" },
    "good here": { model: "x", family: "G", here: own(0.1) }, "bad here": { model: "m", family: "F", here: own(0.3) },
    "unknown": {},
  };
  assert.deepEqual(ordered(["auto", "bad here", "other", "unknown", "kin", "good here", "made"], about, "m"),
    ["auto", "good here", "made", "kin", "unknown", "bad here", "other"]);
  assert.deepEqual(ordered(["auto", "other", "made"], about, ""), ["auto", "other", "made"]);
});
