// What nodes said is kept within bounds and read with care.
import assert from "node:assert/strict";
import test from "node:test";
import { asSaid, forget, keep, kept, kindOf } from "../../web/js/said_store.js";

/** A browser's storage. */
function storage(full = false) {
  const held = new Map();
  return {
    getItem: (key) => held.get(key) ?? null,
    setItem: (key, value) => {
      if (full) throw new Error("QuotaExceededError");
      held.set(key, value);
    },
    removeItem: (key) => held.delete(key),
  };
}

const said = (verdict) => ({ verdict, warnings: [], details: [] });

test("what was said comes back, the last word only", () => {
  const here = storage();
  keep(here, "a", said("one"));
  keep(here, "b", said("two"));
  keep(here, "a", said("three"));
  assert.deepEqual(kept(here, "a"), said("three"));
  assert.deepEqual(kept(here, "b"), said("two"));
  forget(here, "a");
  assert.equal(kept(here, "a"), null);
});

test("only the last 200 are kept", () => {
  const here = storage();
  for (let i = 0; i < 250; i += 1) keep(here, `node ${i}`, said(`word ${i}`));
  assert.equal(kept(here, "node 49"), null);
  assert.equal(kept(here, "node 50").verdict, "word 50");
});

test("a full browser and a damaged entry are no errors", () => {
  keep(storage(true), "a", said("one"));
  const here = storage();
  here.setItem("SolverSearch.Said", "{[");
  assert.equal(kept(here, "a"), null);
  here.setItem("SolverSearch.Said", '[["a", 3], null, 5]');
  assert.equal(kept(here, "a"), null);
});

test("an event without words says nothing; other types become text", () => {
  for (const raw of [undefined, null, 3, {}, { verdict: "" }, { warnings: "no" }])
    assert.equal(asSaid(raw), null);
  assert.deepEqual(asSaid({ verdict: 3, warnings: [7], kind: "evil" }),
    { verdict: "", warnings: ["7"], details: [] });
});

test("a warning outweighs a good word", () => {
  assert.equal(kindOf({ ...said("fine"), kind: "good" }), "good");
  assert.equal(kindOf({ ...said("fine"), kind: "good", warnings: ["but"] }), "warning");
  assert.equal(kindOf(said("fine")), "plain");
});
