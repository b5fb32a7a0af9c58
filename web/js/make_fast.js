// "Make it fast": one click puts a solver before a KSampler. The nodes work without this.
import { addNode, feed, inOneStep, input, nodeBox, nodesIn, openGraph, originOf,
  register, select, selectedNodes, setValue, settingOn, sourceOf, toast, valueOf } from "./comfy.js";
import { fittingPreset, isSampler, roomFor, slotOfType, stepsToSearch } from "./fast_plan.js";
import { checkpointOf } from "./order.js";
import { presets } from "./presets.js";

const SETTING = "SolverSearch.MakeFast";
const COMMAND = "SolverSearch.MakeFast";
const LABEL = "Make it fast";
const SEARCH = "SolverSearch_Search";
const GAP = 30;
const AUTOMATIC_WAIT = 1500; // ms to wait for the list of presets
const [LOOK, LOOKS, STEADY] = [100, 15, 4]; // ms between looks at a growing node, at most, alike
const GROWS = 120; // what Search Solver grows by when it shows pictures
/** Inputs of a sampler that Search Solver takes over: ours, and the names they go by. */
const TAKEN_OVER = /** @type {[string, string[]][]} */ ([
  ["positive", ["positive"]], ["negative", ["negative"]],
  ["latent", ["latent_image", "latent", "samples"]],
]);

/**
 * Put a solver before a sampler node: a preset where one fits, a search where none does.
 *
 * Seed, CFG, prompts and size of the sampler stay; its steps become the solver's.
 * @param {any} sampler a KSampler or a node like it
 * @param {{preset?: string}} [options] preset: a file to use whatever fits
 * @returns {Promise<any[]>} the new nodes; none if nothing was done
 */
export async function makeFast(sampler, { preset = "" } = {}) {
  const slot = slotOfType(sampler, "MODEL");
  const model = input(sampler, slot);
  if (!model) return refuse("This node has no model connected yet. Connect one first.");
  if (originOf(sampler, slot)?.node.comfyClass === "SolverSearch_Use")
    return refuse("This node samples with a solver already.");
  const card = preset ? presets.about(preset) ?? { file: preset } : await fitting(sampler);
  const made = await inOneStep(() => insert(sampler, slot, model, card));
  select(made);
  return made;
}

/** @param {string} sentence @returns {any[]} */
function refuse(sentence) {
  toast("info", LABEL, sentence);
  return [];
}

/** @param {any} sampler */
async function fitting(sampler) {
  const late = new Promise((resolve) => { setTimeout(resolve, AUTOMATIC_WAIT); });
  await Promise.race([presets.ready, late]);
  const cfg = valueOf(sampler, "cfg");
  return fittingPreset(presets.list(), {
    checkpoint: checkpointOf(sampler, sourceOf),
    cfg: typeof cfg === "number" ? cfg : null,
    steps: valueOf(sampler, "steps"),
  });
}

/** @param {any} sampler @param {number} slot @param {any} model @param {any} card */
async function insert(sampler, slot, model, card) {
  const graph = sampler.graph;
  const taken = nodesIn(graph).map(nodeBox);
  const canSearch = slotOfType(sampler, "LATENT") >= 0 && input(sampler, "positive");
  const search = !card && canSearch;
  const first = addNode(graph, search ? SEARCH : "SolverSearch_Load");
  const use = addNode(graph, "SolverSearch_Use");
  place(first, use, sampler, taken);
  if (search) asSearch(first, sampler, model);
  else asLoad(first, sampler, model, card);
  feed(use, "model", model);
  first.connect(0, use, "solver");
  use.connect(0, sampler, slot);
  await grown(first);
  place(first, use, sampler, taken);
  tell(search, card);
  return [first, use];
}

/** @param {any} search @param {any} sampler @param {any} model */
function asSearch(search, sampler, model) {
  feed(search, "model", model);
  for (const [ours, theirs] of TAKEN_OVER) {
    const source = theirs.map((name) => input(sampler, name)).find(Boolean);
    if (source) feed(search, ours, source);
  }
  const steps = stepsToSearch(valueOf(sampler, "steps"));
  setValue(search, "steps", String(steps));
  setValue(sampler, "steps", steps);
  for (const name of ["cfg", "denoise"]) {
    const source = input(sampler, name);
    if (source) feed(search, name, source);
    else setValue(search, name, valueOf(sampler, name));
  }
}

/** @param {any} load @param {any} sampler @param {any} model @param {any} card */
function asLoad(load, sampler, model, card) {
  feed(load, "model", model);
  if (!card) return;
  setValue(load, "preset", card.file);
  if (card.steps) setValue(sampler, "steps", card.steps);
  if (card.id) setValue(load, "pin", card.id);
}

/** Wait until a node has the height of what is shown in it. @param {any} node */
async function grown(node) {
  let [alike, before] = [0, -1];
  for (let look = 0; look < LOOKS && alike < STEADY; look += 1) {
    await new Promise((resolve) => { setTimeout(resolve, LOOK); });
    const high = nodeBox(node)[3];
    alike = high === before ? alike + 1 : 0;
    before = high;
  }
}

/** @param {any} first @param {any} use @param {any} sampler @param {any[]} taken */
function place(first, use, sampler, taken) {
  const [, top, wide, high] = nodeBox(first);
  const [, , useWide, useHigh] = nodeBox(use);
  const title = first.pos[1] - top;
  const room = high + (first.comfyClass === SEARCH ? GROWS : 0);
  const [x, y] = roomFor([wide + GAP + useWide, Math.max(room, useHigh)], nodeBox(sampler), taken, GAP);
  first.pos = [x, y + title];
  use.pos = [x + wide + GAP, y + high - useHigh + title];
}

/** @param {any} search @param {any} card */
function tell(search, card) {
  if (search)
    toast("info", "Search Solver is wired in",
      "No preset is made for this checkpoint and CFG yet. Run searches one, then paints with it.");
  else
    toast("success", "Solver wired in",
      card ? `${card.name ?? card.file}. Press Run.` : "Load Solver Preset takes what suits your model.");
}

/** Samplers that are meant: the selected ones, else the only one of the open graph. */
function meant() {
  const selected = selectedNodes().filter(isSampler);
  if (selected.length) return selected;
  const all = nodesIn(openGraph()).filter(isSampler);
  return all.length === 1 ? all : [];
}

async function run() {
  const samplers = meant();
  if (!samplers.length) refuse("Select the KSampler that shall be faster.");
  for (const sampler of samplers) await makeFast(sampler);
}

register({
  name: "SolverSearch.MakeFast",
  commands: [{ id: COMMAND, label: LABEL, icon: "pi pi-bolt", function: run }],
  menuCommands: [{ path: ["Solver Search"], commands: [COMMAND] }],
  getNodeMenuItems: (/** @type {any} */ node) => settingOn(SETTING) && isSampler(node)
    ? [null, { content: LABEL, callback: () => { makeFast(node); } }] : [],
  getSelectionToolboxCommands: (/** @type {any} */ item) =>
    settingOn(SETTING) && isSampler(item) ? [COMMAND] : [],
});
