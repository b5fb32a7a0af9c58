// Walks through graphs made of plain objects, as ComfyUI's page holds them.
import assert from "node:assert/strict";
import test from "node:test";
import { executionIdOf, nodeAt, originOf, sourceOf, targetsOf } from "../../web/js/links.js";
import { checkpointOf, ordered } from "../../web/js/order.js";

/** A graph of nodes and links [origin, slot, target, slot]. */
function graph(nodes, links, root) {
  const made = {
    nodes,
    links: new Map(links.map(([origin_id, origin_slot, target_id, target_slot], id) =>
      [id, { id, origin_id, origin_slot, target_id, target_slot }])),
    getNodeById: (id) => nodes.find((node) => String(node.id) === String(id)) ?? null,
    isRootGraph: !root,
    subgraphs: new Map(),
  };
  made.rootGraph = root ?? made;
  for (const node of nodes) node.graph = made;
  if (root) root.subgraphs.set(`s${root.subgraphs.size}`, made);
  return made;
}

const socket = (name, type = "MODEL") => ({ name, type });
const loader = (id, file) => ({
  id, type: "Loader", outputs: [socket("MODEL")], widgets: [{ name: "ckpt_name", value: file }],
});
const model = (id, type, more = {}) => ({
  id, type, inputs: [socket("model")], outputs: [socket("MODEL")], ...more,
});

test("a chain of models leads to its checkpoint, through reroutes and bypassed nodes", () => {
  const last = model(4, "Load");
  graph([loader(1, "sub\\a.safetensors"), model(2, "Reroute"), model(3, "LoRA", { mode: 4 }), last],
    [[1, 0, 2, 0], [2, 0, 3, 0], [3, 0, 4, 0]]);
  assert.equal(originOf(last, 0).node.id, 1);
  assert.equal(checkpointOf(last, sourceOf), "a.safetensors");
});

test("a muted node, an open input and a node in no graph lead nowhere", () => {
  const last = model(3, "Load");
  graph([loader(1, "a"), model(2, "LoRA", { mode: 2 }), last], [[1, 0, 2, 0], [2, 0, 3, 0]]);
  assert.equal(sourceOf(last, "model"), null);
  assert.equal(sourceOf({ inputs: [socket("model")] }, "model"), null);
  assert.equal(sourceOf(last, "nothing"), null);
});

test("a ring of nodes ends", () => {
  const [a, b] = [model(1, "LoRA"), model(2, "LoRA")];
  graph([a, b], [[1, 0, 2, 0], [2, 0, 1, 0]]);
  assert.equal(checkpointOf(a, sourceOf), "");
});

/** Loader and sampler outside; Load inside a subgraph that hands its model through. */
function nested() {
  const holder = model(5, "uuid");
  const sampler = model(6, "KSampler");
  const root = graph([loader(1, "a.safetensors"), holder, sampler], [[1, 0, 5, 0], [5, 0, 6, 0]]);
  const inner = model(3, "Use");
  holder.subgraph = graph([inner], [[-10, 0, 3, 0], [3, 0, -20, 0]], root);
  return { root, holder, sampler, inner };
}

test("walls of subgraphs are passed both ways", () => {
  const { root, sampler, inner } = nested();
  assert.equal(sourceOf(inner, "model").id, 1);
  assert.equal(originOf(sampler, 0).node, inner);
  assert.deepEqual(targetsOf(inner, 0).map((end) => end.node.id), [6]);
  assert.deepEqual(targetsOf(root.nodes[0], 0).map((end) => end.node), [inner]);
});

test("the server's names of nodes", () => {
  const { root, inner, sampler } = nested();
  assert.equal(nodeAt(root, "5:3"), inner);
  assert.equal(nodeAt(root, 6), sampler);
  assert.equal(nodeAt(root, "7:3"), null);
  assert.equal(executionIdOf(inner), "5:3");
  assert.equal(executionIdOf(sampler), "6");
});

test("an output feeds several, through a reroute and a bypassed node", () => {
  const first = loader(1, "a");
  graph([first, model(2, "Reroute"), model(3, "KSampler"), model(4, "LoRA", { mode: 4 }),
    model(5, "KSampler"), model(6, "KSampler", { mode: 2 })],
  [[1, 0, 2, 0], [2, 0, 3, 0], [1, 0, 4, 0], [4, 0, 5, 0], [1, 0, 6, 0]]);
  assert.deepEqual(targetsOf(first, 0).map((end) => end.node.id), [3, 5]);
});

test("presets of this checkpoint come first, then its family, then unknown ones", () => {
  const about = {
    other: { model: "b", family: "X" }, kin: { model: "c", family: "F" },
    bundled: { model: "", family: "" }, own: { model: "a", family: "F" },
  };
  const names = ["(best)", "other", "bundled", "kin", "own"];
  assert.deepEqual(ordered(names, about, "a"), ["(best)", "own", "kin", "bundled", "other"]);
  assert.deepEqual(ordered(names, about, ""), names);
});
