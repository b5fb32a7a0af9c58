// What a search says of itself.
import assert from "node:assert/strict";
import test from "node:test";
import { doing, beforehand, ending, share, standing, times } from "../../web/js/live_words.js";
import { speak } from "../../web/js/words.js";

test("the bar counts search and measuring, and stands full only at the end", () => {
  assert.equal(share({ state: "searching", calls: 30, total: 120 }), 0.25);
  assert.equal(share({ state: "measuring", calls: 200, total: 120 }), 1);
  assert.equal(share({ state: "estimating", calls: 0, total: 0 }), 0);
  assert.equal(share({ state: "stopped", calls: 3, total: 120 }), 1);
});

test("time left, time so far, time taken", () => {
  assert.equal(times({ state: "searching", seconds: 5, seconds_left: 130 }), "2:10 left");
  assert.equal(times({ state: "searching", seconds: 5, seconds_left: null }), "0:05 so far");
  assert.equal(times({ state: "done", seconds: 65, seconds_left: 0 }), "took 1:05");
  assert.equal(times({ state: "estimating", seconds: 0, seconds_left: null }), "");
});

test("the best so far beside the best built-in, never better than it is", () => {
  const stands = (best, base) => standing({ best: { error: best }, baseline: base && { error: base } });
  assert.equal(stands(0.05, 0.08), "Already 38 % closer than the best built-in");
  assert.equal(stands(0.1, 0.08), "25 % behind the best built-in so far");
  assert.equal(stands(0.08, 0.08), "Level with the best built-in so far");
  assert.equal(stands(0.08, null), "Error so far 0.08");
  assert.equal(standing({ best: null, baseline: null }), "");
});

test("each ending says what was kept", () => {
  assert.equal(ending({ state: "done", saved: "a" }), "Saved as a.");
  assert.equal(ending({ state: "stopped", saved: "a" }), "Stopped. Saved as a.");
  assert.equal(ending({ state: "stopped", saved: "", name: "" }), "Stopped before anything was found.");
  assert.equal(ending({ state: "failed", saved: "a" }), "Failed, but the best so far is kept. Saved as a.");
  assert.equal(ending({ state: "found", name: "a" }), "Found from an earlier search: a.");
});

test("what a search says itself is not said twice", () => {
  const sentence = "Saved as 'a': 57 % closer.";
  assert.equal(ending({ state: "done", saved: "a.safetensors", name: "a", sentence }), sentence);
});

test("before a search its last cost is told, or that it will be", () => {
  assert.equal(beforehand(""), "The cost is told before the search begins.");
  assert.equal(beforehand("about 5 minutes"), "Last time: about 5 minutes.");
});

test("what a search does is said in the page's language, and what is not known as it came", () => {
  const sentence = "Fitting 6 steps to your model. Already 38% closer than the best built-in setting tried.";
  assert.equal(doing({ sentence }), "Fitting 6 steps to your model."); // the gain stands beside
  speak({ "Fitting {steps} steps to your model.": "{steps} Schritte werden angepasst." });
  assert.equal(doing({ sentence: "Fitting 6 steps to your model." }), "6 Schritte werden angepasst.");
  assert.equal(doing({ sentence: "This takes 5 steps of luck." }), "This takes 5 steps of luck.");
  speak({});
});
