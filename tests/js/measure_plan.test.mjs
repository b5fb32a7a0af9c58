// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import { lights } from "../../web/js/lights.js";
import { measuringPrompt, MEASURE_ID, timeLeft } from "../../web/js/measure_plan.js";
import { badgeOf, foundHere, hereOf } from "../../web/js/sidebar_words.js";

const node = (class_type, inputs) => ({ class_type, inputs });
const graph = () => ({
  1: node("CheckpointLoaderSimple", { ckpt_name: "m.safetensors" }),
  2: node("CLIPTextEncode", { clip: ["1", 1], text: "cat" }),
  3: node("EmptyLatentImage", { width: 64 }),
  4: node("SolverSearch_Load", { preset: "old", model: ["1", 0] }),
  5: node("SolverSearch_Use", { model: ["6", 0], solver: ["4", 0] }),
  6: node("LoraLoader", { model: ["1", 0], clip: ["1", 1], strength_model: 1 }),
  7: node("KSampler", { model: ["5", 0], positive: ["2", 0], negative: ["2", 0], latent_image: ["3", 0], cfg: 4, seed: 1 }),
  8: node("SaveImage", { images: ["7", 0] }),
});

test("a measuring prompt has what the sampler needs, goes around Use Solver, and nothing else", () => {
  const before = JSON.stringify(graph()), own = graph();
  const made = measuringPrompt(own, "7", "friend.safetensors");
  assert.equal(JSON.stringify(own), before);
  assert.deepEqual(Object.keys(made).sort(), ["1", "2", "3", "6", "solver_search_measure", "solver_search_measured"]);
  assert.deepEqual(made[MEASURE_ID].inputs.model, ["6", 0]);
  assert.equal(made[MEASURE_ID].inputs.cfg, 4);
  assert.equal(made.solver_search_measured.inputs.preset, "friend.safetensors");
});

test("a Use Solver further up is gone around, too; a CFG may be linked", () => {
  const own = graph();
  own[6].inputs.model = ["5", 0];
  own[5].inputs.model = ["1", 0];
  own[7].inputs = { ...own[7].inputs, model: ["6", 0], cfg: ["9", 0] };
  own[9] = node("PrimitiveFloat", { value: 3 });
  const made = measuringPrompt(own, "7", "f");
  assert.deepEqual(made[6].inputs.model, ["1", 0]);
  assert.deepEqual(made[MEASURE_ID].inputs.cfg, ["9", 0]);
  assert.ok(made[9] && !made[5] && !made[4]);
});

test("a guider is enough, and what is missing is said", () => {
  const own = graph();
  own[10] = node("CFGGuider", { model: ["5", 0], positive: ["2", 0], negative: ["2", 0], cfg: 3 });
  own[11] = node("SamplerCustomAdvanced", { guider: ["10", 0], latent_image: ["3", 0] });
  const made = measuringPrompt(own, "11", "f");
  assert.deepEqual(made[MEASURE_ID].inputs.guider, ["10", 0]);
  assert.deepEqual(made[10].inputs.model, ["6", 0]);
  delete own[7].inputs.latent_image;
  assert.throws(() => measuringPrompt(own, "7", "f"), /needs a model, a prompt and a latent/);
  assert.throws(() => measuringPrompt(own, "99", "f"), /needs a model/);
});

test("time left is said when it can be known", () => {
  assert.equal(timeLeft(0, 100, 50), "");
  assert.equal(timeLeft(50, 100, 1), "");
  assert.equal(timeLeft(50, 100, 65), "1:05");
});

const figures = (more) => ({ model: "m.safetensors", guidance: 4, error: 0.1, baseline_error: 0.2, difference_interval: 0.01, ...more });
const card = (more) => ({ model: "theirs", family: "SD3", flow: true, steps: 6, guidance: 7, error: 0.05, baseline_error: 0.2, ...more });

test("own figures decide badge and lights, whatever the author says", () => {
  const here = { checkpoint: "m.safetensors", kin: null, samplers: [{ cfg: 4, steps: 6 }] };
  const good = card({ here: [figures({})] }), bad = card({ here: [figures({ error: 0.4 })], model: "m.safetensors" });
  assert.equal(badgeOf(good, ["m.safetensors"], [good]).fit, "measured");
  assert.equal(badgeOf(bad, ["m.safetensors"], [bad]).fit, "worse");
  assert.deepEqual(lights(good, here).map((light) => light.tone), ["good", "good", "good"]);
  assert.equal(lights(bad, here)[0].tone, "bad");
  assert.equal(badgeOf(good, ["other"], [good]).fit, "unknown");
});

test("of several figures the checkpoint's count, and the nearest CFG's", () => {
  const own = card({ here: [figures({ guidance: 2 }), figures({ guidance: 6 }), figures({ model: "x" })] });
  assert.equal(hereOf(own, ["m.safetensors"]).guidance, 2);
  assert.equal(hereOf(own, ["m.safetensors"], 5).guidance, 6);
  assert.equal(hereOf(own, ["nowhere"]), null);
  assert.ok(!foundHere(own));
  assert.ok(foundHere(card({ model: "m.safetensors", error: 0.1, here: [figures({})] })));
});
