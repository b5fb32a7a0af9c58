// What a preset's lights say before anything runs.
import assert from "node:assert/strict";
import test from "node:test";
import { kinOf, lights, samplersBehind } from "../../web/js/lights.js";

const card = {
  model: "a.safetensors", family: "SDXL", flow: false, guidance: 2.5, guidance_low: 1.75, guidance_high: 3.25, steps: 6,
};
const here = (more) => ({ checkpoint: "a.safetensors", kin: { family: "SDXL", flow: false }, samplers: [{ cfg: 2.5, steps: 6 }], ...more });
const tones = (...args) => lights(...args).map((light) => light.tone);

test("the setting it was searched at is green throughout", () => {
  assert.deepEqual(tones(card, here()), ["good", "good", "good"]);
});

test("a model that is not its own", () => {
  assert.equal(tones(card, here({ checkpoint: "b" }))[0], "warn");
  assert.equal(tones(card, here({ checkpoint: "b", kin: { family: "Flux", flow: false } }))[0], "bad");
  assert.equal(tones(card, here({ checkpoint: "b", kin: null }))[0], "warn");
  assert.equal(tones({ ...card, model: "", family: "" }, here())[0], "unknown");
  assert.equal(tones(card, here({ checkpoint: "" }))[0], "unknown");
  const flow = lights({ ...card, model: "", family: "", flow: true }, here())[0];
  assert.deepEqual([flow.tone, flow.text.slice(0, 26)], ["bad", "made for another kind of n"]);
});

test("a CFG within the range, outside it, and without a range", () => {
  const at = (cfg, more = {}) => tones({ ...card, ...more }, here({ samplers: [{ cfg, steps: 6 }] }))[1];
  assert.equal(at(3), "good");
  assert.equal(at(7), "bad");
  assert.equal(at(3, { guidance_low: null, guidance_high: null }), "warn");
  assert.equal(at(3, { guidance: null }), "unknown");
  const two = here({ samplers: [{ cfg: 2.5, steps: 6 }, { cfg: 7, steps: 6 }] });
  assert.match(lights(card, two)[1].text, /^2\.5 and 7 here, but searched at 2\.5, good from 1\.75 to 3\.25$/);
});

test("other steps are told", () => {
  const [, , light] = lights(card, here({ samplers: [{ cfg: 2.5, steps: 20 }] }));
  assert.deepEqual([light.tone, light.text], ["warn", "takes its own 6, not the 20 asked for"]);
  assert.equal(tones(card, here({ samplers: [] }))[2], "unknown");
});

test("a checkpoint's family is known from another preset of it", () => {
  assert.equal(kinOf([{ model: "b", family: "X" }, card], "a.safetensors"), card);
  assert.equal(kinOf([card], ""), null);
  assert.equal(kinOf([card], "c"), null);
});

/** Nodes by id, and a walk over links [origin, slot, target, slot]. */
function walkOver(nodes, links) {
  return {
    targetsOf: (node, slot) => links.filter(([o, s]) => nodes[o] === node && s === slot)
      .map(([, , t, into]) => ({ node: nodes[t], slot: into })),
    originOf: (node, slot) => {
      const link = links.find(([, , t, into]) => nodes[t] === node && into === slot);
      return link ? { node: nodes[link[0]], slot: link[1] } : null;
    },
  };
}

const widget = (name, value) => ({ name, value });

test("samplers are found behind Use Solver and a LoRA, with a CFG from elsewhere", () => {
  const nodes = {
    load: { outputs: [{ type: "SOLVER" }] },
    use: { outputs: [{ type: "MODEL" }] },
    lora: { outputs: [{ type: "MODEL" }] },
    one: {
      inputs: [{ name: "model" }, { name: "latent_image" }], outputs: [{ type: "LATENT" }],
      widgets: [widget("cfg", 4), widget("steps", 20)],
    },
    two: {
      inputs: [{ name: "model" }, { name: "latent_image" }, { name: "cfg" }],
      outputs: [{ type: "LATENT" }], widgets: [widget("cfg", 1), widget("steps", 6)],
    },
    number: { outputs: [{ type: "FLOAT" }], widgets: [widget("value", 7)] },
    after: { inputs: [{ name: "latent_image" }], widgets: [widget("cfg", 99), widget("steps", 1)] },
  };
  const walk = walkOver(nodes, [["load", 0, "use", 1], ["use", 0, "one", 0], ["use", 0, "lora", 0],
    ["lora", 0, "two", 0], ["number", 0, "two", 2], ["one", 0, "after", 0]]);
  const found = samplersBehind(nodes.load, walk).sort((a, b) => a.steps - b.steps);
  assert.deepEqual(found, [{ cfg: 7, steps: 6 }, { cfg: 4, steps: 20 }]);
});

test("SamplerCustomAdvanced has the CFG of its guider", () => {
  const nodes = {
    load: { outputs: [{ type: "SOLVER" }] },
    sampler: { outputs: [{ type: "SAMPLER" }] },
    custom: { inputs: [{ name: "sampler" }, { name: "guider" }, { name: "latent_image" }], outputs: [] },
    guider: { outputs: [{ type: "GUIDER" }], widgets: [widget("cfg", 3.5)] },
  };
  const walk = walkOver(nodes, [["load", 0, "sampler", 0], ["sampler", 0, "custom", 0], ["guider", 0, "custom", 1]]);
  assert.deepEqual(samplersBehind(nodes.load, walk), [{ cfg: 3.5, steps: null }]);
});
