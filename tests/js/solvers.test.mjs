// What the Solvers tab says of presets, and what it makes of files and comparisons.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { deflateRawSync } from "node:zlib";
import { asComparison, builtinOf, howToUse, winnerOf, worstFirst } from "../../web/js/compare_words.js";
import { nodeStore } from "../../web/js/node_store.js";
import { mayBeOurs, presetHeader, presetsIn, unzip } from "../../web/js/preset_file.js";
import { fieldsOf } from "../../web/js/fields.js";
import { badgeOf, cfgWords, checkpointsIn, chosen, gainOf, matches, sizeWords } from "../../web/js/sidebar_words.js";

const card = (more = {}) => ({ file: "a.safetensors", name: "A", model: "", family: "", flow: false, steps: 6, error: null,
  sigma_max: null, guidance: null, guidance_low: null, guidance_high: null, ...more });
const mine = card({ model: "mine.safetensors", family: "SD15", sigma_max: 14.6 });
const sister = card({ model: "sister.safetensors", family: "SD15", sigma_max: 14.61 });
const flow = card({ model: "flow.safetensors", family: "Flux", flow: true, sigma_max: 1 });
const all = [mine, sister, flow, card()];

test("a badge compares a preset with the model of the graph", () => {
  const fit = (preset, ...models) => badgeOf(preset, models, all).fit;
  assert.equal(fit(mine, "mine.safetensors"), "made");
  assert.equal(fit(sister, "mine.safetensors"), "family");
  assert.equal(fit(flow, "mine.safetensors"), "unusable");
  assert.equal(fit(card(), "mine.safetensors"), "unknown");
  assert.equal(fit(card({ family: "SDXL", sigma_max: 14.6 }), "mine.safetensors"), "other");
  assert.equal(fit(card({ family: "SD15", sigma_max: 4518 }), "mine.safetensors"), "unusable");
  assert.equal(fit(mine, "new.safetensors"), "unknown");
  assert.equal(fit(mine), "none");
  assert.equal(fit(mine, "flow.safetensors", "mine.safetensors"), "made");
});

test("only loaders that are awake name a checkpoint", () => {
  const loader = (name, value, mode = 0) => ({ mode, widgets: [{ name, value }] });
  assert.deepEqual(checkpointsIn([loader("ckpt_name", "x\\y/a.safetensors"), loader("unet_name", "b.safetensors", 4),
    loader("model_name", "a.safetensors"), loader("lora_name", "l.safetensors"), {}]), ["a.safetensors"]);
});

test("a gain is said only where it is measured and larger than its doubt", () => {
  const gain = (more) => gainOf(card(more));
  assert.equal(gain({}).words, "Not measured");
  assert.equal(gain({ error: 0.046, baseline_error: 0.1, held_out_seeds: 32 }).words, "Error 54 % lower than the best built-in, 32 seeds");
  assert.equal(gain({ error: 0.2, baseline_error: 0.1 }).words, "Error 100 % higher than the best built-in");
  assert.equal(gain({ error: 0.09, baseline_error: 0.1, error_interval: 0.02 }).kind, "even");
  assert.equal(gain({ error: 0.09, baseline_error: 0.1, error_interval: 0.02, difference_interval: 0.001 }).kind, "better");
  assert.equal(gain({ error: 0.1, baseline_error: 0.1, builtin: "euler/beta" }).kind, "even");
  assert.equal(gain({ error: 0.1 }).kind, "unknown");
});

test("sizes are pixels only where the model's scale is known", () => {
  assert.equal(sizeWords(card({ family: "SDXL", width: 128, height: 96 })), "1024 × 768");
  assert.equal(sizeWords(card({ family: "LTXV", width: 24, height: 16, frames: 13 })), "latent 24 × 16, 13 latent frames");
  assert.equal(sizeWords(card()), "");
  assert.equal(cfgWords(card({ guidance: 2.5, guidance_low: 1.75, guidance_high: 3.25 })), "CFG 1.75 to 3.25");
  assert.equal(cfgWords(card({ guidance: 0 })), "CFG 0");
});

test("searching, filtering and sorting", () => {
  const wish = { search: "", here: false, sort: "fit", checkpoints: ["sister.safetensors"] };
  assert.equal(chosen(all, wish)[0].card, sister);
  assert.deepEqual(chosen(all, { ...wish, here: true }).map((each) => each.card), [sister, mine]);
  assert.deepEqual(chosen(all, { ...wish, search: "flux 6 STEPS" }).map((each) => each.card), [flow]);
  const named = ["b 10", "b 9"].map((name) => card({ name }));
  assert.deepEqual(chosen(named, { ...wish, sort: "name" }).map((each) => each.card.name), ["b 9", "b 10"]);
  assert.ok(!matches(mine, "nothing"));
});

test("fields leave out what is unknown", () => {
  assert.deepEqual(fieldsOf({ file: "x", author: "", licence: "CC0-1.0", weights: [[1], [-0.5, 1.5]], frames: 0 }),
    [["Licence", "CC0-1.0"], ["Weights", "1\n-0.5, 1.5"]]);
});

const shipped = new URL("../../presets/library/DSS SiT flow 6.safetensors", import.meta.url);

/** A zip with one file, packed or not. */
function zip(name, bytes, method) {
  const packed = method ? deflateRawSync(bytes) : bytes;
  const title = Buffer.from(name);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(title.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(method, 10);
  central.writeUInt32LE(packed.length, 20);
  central.writeUInt32LE(bytes.length, 24);
  central.writeUInt16LE(title.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(30 + title.length + packed.length, 16);
  return new Uint8Array(Buffer.concat([local, title, packed, central, title, end]));
}

test("a preset is told from other files by its header", async () => {
  const bytes = new Uint8Array(await readFile(shipped));
  assert.equal(presetHeader(bytes).prediction, "flow");
  const lora = Buffer.from(`\0\0\0\0\0\0\0\0{"__metadata__":{"format":"pt"}}`);
  lora.writeBigUInt64LE(BigInt(lora.length - 8), 0);
  assert.equal(presetHeader(new Uint8Array(lora)), null);
  assert.equal(presetHeader(bytes.subarray(0, 40)), null);
  assert.equal(presetHeader(new Uint8Array(20).fill(255)), null);
  assert.ok(mayBeOurs({ name: "a.SAFETENSORS", size: 1 << 20 }));
  assert.ok(!mayBeOurs({ name: "model.safetensors", size: (1 << 20) + 1 }));
  assert.ok(!mayBeOurs({ name: "workflow.json", size: 10 }));
});

test("presets come out of a zip, stored or packed, and lies about sizes do not", async () => {
  const bytes = new Uint8Array(await readFile(shipped));
  for (const method of [0, 8]) {
    const [found] = await presetsIn(new File([zip("folder/p.safetensors", bytes, method)], "all.zip"));
    assert.equal(found.name, "p.safetensors");
    assert.deepEqual(Buffer.from(found.bytes), Buffer.from(bytes));
  }
  const lying = zip("p.safetensors", bytes, 8);
  new DataView(lying.buffer).setUint32(lying.length - 22 - 46 - "p.safetensors".length + 24, 10, true);
  await assert.rejects(unzip(lying), /larger than it says/);
  assert.deepEqual(await presetsIn(new File(["no zip at all, but long enough"], "x.zip")), []);
});

const tile = (kind, error, more = {}) => ({ kind, label: kind, calls: 6, error, errors: [], images: [], ...more });

test("a comparison names its winner and shows the worst seed first", () => {
  const ours = tile("solver", 0.2, { errors: [0.1, 0.3, 0.2], images: [{}, {}, {}] });
  const tiles = [tile("reference", 0), tile("builtin", 0.1, { calls: 12 }), tile("builtin", 0.3), ours];
  assert.deepEqual(worstFirst(tiles), [1, 2, 0]);
  assert.equal(builtinOf(tiles), tiles[2]);
  assert.equal(winnerOf(tiles), tiles[1]);
  assert.equal(howToUse(tile("builtin", 1, { label: "dpmpp_2m/beta@3" })),
    "A built-in sampler lands nearest. In your KSampler choose dpmpp_2m with beta (6 model calls), and shift 3 in a ModelSampling node.");
});

test("a comparison that a browser kept may be anything", () => {
  const tile = { label: "a", kind: "solver", calls: 6, error: 0.1, errors: [0.1], images: [{ filename: "a.png" }] };
  const sound = { tiles: [tile], seeds: 1 };
  assert.equal(asComparison(sound), sound);
  for (const raw of [null, 3, {}, { tiles: [] }, { tiles: [null] }, { tiles: [{ ...tile, label: 3 }] },
    { tiles: [{ ...tile, errors: ["x"] }] }, { tiles: [{ ...tile, images: [3] }] }, { tiles: [tile, {}] }])
    assert.equal(asComparison(raw), null);
});

test("what the browser keeps by node is bounded and may be spoilt", () => {
  const held = new Map();
  const storage = { getItem: (key) => held.get(key) ?? null, setItem: (key, text) => held.set(key, text),
    removeItem: (key) => held.delete(key) };
  const store = nodeStore("here", 2);
  for (const key of ["a", "b", "c", "b"]) store.keep(storage, key, `${key}!`);
  assert.deepEqual(["a", "b", "c"].map((key) => store.kept(storage, key)), [null, "b!", "c!"]);
  store.forget(storage, "c");
  assert.equal(store.kept(storage, "c"), null);
  held.set("here", "{spoilt");
  assert.equal(store.kept(storage, "b"), null);
});
