// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  fittingPreset, isSampler, roomFor, samplersOf, stepsToSearch, takesGuider,
} from "../../web/js/fast_plan.js";

const shape = (inputs, outputs, widgets, comfyClass = "X") => ({
  comfyClass, inputs: inputs.map((type) => ({ name: type, type })),
  outputs: outputs.map((type) => ({ type })), widgets: widgets.map((name) => ({ name })),
});

test("samplers are known by their shape", () => {
  assert.ok(isSampler(shape(["MODEL", "LATENT"], ["LATENT"], ["steps", "cfg", "sampler_name"])));
  assert.ok(isSampler(shape(["MODEL", "SAMPLER", "SIGMAS", "LATENT"], ["LATENT"], ["cfg"])));
  assert.ok(isSampler(shape(["IMAGE", "MODEL"], ["IMAGE"], ["steps", "cfg", "sampler_name"])));
});

test("other nodes with a model are none", () => {
  assert.ok(!isSampler(shape(["MODEL"], ["SIGMAS"], ["steps", "scheduler"])));
  assert.ok(!isSampler(shape(["MODEL"], ["MODEL"], ["shift"])));
  assert.ok(!isSampler(shape(["LATENT"], ["LATENT"], ["steps", "cfg"])));
  const search = shape(["MODEL", "LATENT"], ["SOLVER", "IMAGE"], ["steps", "cfg"], "SolverSearch_Search");
  assert.ok(!isSampler(search));
  assert.ok(!isSampler({}));
  const made = shape(["MODEL", "LATENT"], ["LATENT"], ["steps", "cfg"], "an-id");
  assert.ok(isSampler({ ...made, subgraph: { nodes: [{ type: "KSampler" }] } }));
  assert.ok(!isSampler({ ...made, subgraph: { nodes: [{ type: "SolverSearch_Use" }] } }));
});

test("more than ten steps ask for eight", () => {
  assert.deepEqual([4, 10, 11, 30, undefined, 0].map(stepsToSearch), [4, 10, 8, 8, 8, 8]);
});

const card = (more) => ({ file: "a", model: "m.safetensors", steps: 6, guidance: 5, denoise: 1,
  state: "", error: 0.5, baseline_error: 1, ...more });
const wanted = { checkpoint: "m.safetensors", cfg: 5, steps: 20 };

test("only a finished preset of this checkpoint and CFG fits", () => {
  assert.equal(fittingPreset([card({})], wanted)?.file, "a");
  for (const more of [{ model: "n" }, { guidance: 4 }, { state: "unfinished" }, { denoise: 0.5 }])
    assert.equal(fittingPreset([card(more)], wanted), null);
  assert.equal(fittingPreset([card({ model: "" })], { ...wanted, checkpoint: "" }), null);
  assert.ok(fittingPreset([card({ guidance: 6, guidance_low: 4, guidance_high: 8 })], wanted));
});

test("the steps of the sampler choose, then the gain", () => {
  const cards = [card({ file: "unmeasured", error: null }), card({ file: "good" }),
    card({ file: "better", error: 0.4 }), card({ file: "eight", steps: 8, error: 0.9 })];
  assert.equal(fittingPreset(cards, wanted).file, "better");
  assert.equal(fittingPreset(cards, { ...wanted, steps: 8 }).file, "eight");
});

test("what was measured on this machine goes before what files say", () => {
  const own = (error, more = {}) => ({ here: [{ model: "m.safetensors", guidance: 5, error, baseline_error: 1, ...more }] });
  const files = (...cards) => fittingPreset(cards, wanted)?.file ?? null;
  assert.equal(files(card({ file: "theirs", error: 0.3 }), card({ file: "own", ...own(0.2) })), "own");
  assert.equal(files(card({ file: "theirs", error: 0.3 }), card({ file: "claimed", error: 0.1, ...own(0.6) })), "theirs");
  assert.equal(files(card(own(1.5))), null); // worse here, whatever the file says
  assert.equal(files(card({ model: "n", guidance: 9, ...own(0.5) })), "a"); // another's, better here
  assert.equal(files(card({ model: "n", ...own(0.5, { guidance: 2 }) })), null); // at another CFG
  assert.equal(files(card(own(1.1, { difference_interval: 0.3 }))), "a"); // may be chance
});

test("new nodes lie on none", () => {
  const near = [800, 200, 300, 300];
  const taken = [near, [400, -400, 380, 2000], [800, -100, 300, 250], [0, 0, 300, 200]];
  const [x, y] = roomFor([600, 250], near, taken);
  const clear = taken.every(([l, t, w, h]) => x >= l + w || l >= x + 600 || y >= t + h || t >= y + 250);
  assert.ok(clear, `${x}, ${y}`);
});

test("a sampler with a guider is one, and a subgraph stands for those inside", () => {
  const custom = shape(["NOISE", "GUIDER", "SAMPLER", "SIGMAS", "LATENT"], ["LATENT"], []);
  assert.ok(isSampler(custom) && takesGuider(custom));
  assert.ok(!takesGuider(shape(["MODEL", "SAMPLER", "SIGMAS", "LATENT"], ["LATENT"], ["cfg"])));
  const plain = shape(["MODEL", "LATENT"], ["LATENT"], ["steps", "cfg", "sampler_name"]);
  const outer = { ...shape(["IMAGE"], ["IMAGE"], []), subgraph: { nodes: [{}, custom, { subgraph: { nodes: [plain] } }] } };
  assert.deepEqual(samplersOf(outer), [custom, plain]);
  assert.deepEqual(samplersOf(plain), [plain]);
  assert.deepEqual(samplersOf({}), []);
});
