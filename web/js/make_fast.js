// "Make it fast": one click puts a solver before a KSampler. The nodes work without this.
import { addNode, feed, inOneStep, input, nodeBox, nodesIn, openGraph, originOf,
  register, select, selectedNodes, setValue, settingOn, sourceOf, targetsOf, toast, valueOf } from "./comfy.js";
import {
  fittingPreset, roomFor, samplersOf, slotOfType, stepsToSearch, takesGuider,
} from "./fast_plan.js";
import { checkpointOf } from "./order.js";
import { presets } from "./presets.js";
import { t } from "./words.js";

const SETTING = "SolverSearch.MakeFast";
const COMMAND = "SolverSearch.MakeFast";
const LABEL = "Make it fast";
const [SEARCH, USE, PAIR] = ["SolverSearch_Search", "SolverSearch_Use", "SolverSearch_Sampler"];
const GAP = 30;
const AUTOMATIC_WAIT = 1500; // ms to wait for the list of presets
const [LOOK, LOOKS, STEADY] = [100, 15, 4]; // ms between looks at a growing node, at most, alike
const GROWS = 230; // what Search Solver grows by when it shows pictures
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
  const way = takesGuider(sampler) ? behindGuider(sampler) : behindModel(sampler);
  if (!way.source) return refuse(t("This node has no {input} connected yet. Connect one first.", { input: way.input }));
  if (way.feeds === way.last) return refuse(t("This node samples with a solver already."));
  const card = preset ? presets.about(preset) ?? { file: preset } : await fitting(way);
  const made = await inOneStep(() => insert(sampler, way, card));
  select(made);
  return made;
}

/**
 * @typedef {object} Way how a solver reaches a sampler
 * @property {"model" | "guider"} input of Search Solver
 * @property {any} source what is plugged in there
 * @property {any} model what Load Solver Preset is asked for, or null
 * @property {any} feeds class of the node that decides how it samples now
 * @property {string} last class of our node before the sampler
 * @property {any} scaled node with the CFG
 * @property {number | null} cfg
 * @property {unknown} steps
 * @property {boolean} canSearch
 * @property {(last: any) => void} plug
 */

/** A sampler with its own model: Use Solver stands before it. @param {any} sampler @returns {Way} */
function behindModel(sampler) {
  const slot = slotOfType(sampler, "MODEL");
  const [model, cfg] = [input(sampler, slot), valueOf(sampler, "cfg")];
  return {
    input: "model", source: model, model, feeds: originOf(sampler, slot)?.node.comfyClass, last: USE,
    scaled: sampler, cfg: typeof cfg === "number" ? cfg : null, steps: valueOf(sampler, "steps"),
    canSearch: slotOfType(sampler, "LATENT") >= 0 && Boolean(input(sampler, "positive")),
    plug(use) {
      feed(use, "model", model);
      use.connect(0, sampler, slot);
    },
  };
}

/** A sampler for a guider: Solver Sampler takes the place of sampler and noise levels. @param {any} sampler @returns {Way} */
function behindGuider(sampler) {
  const at = (/** @type {string} */ type) => slotOfType(sampler, type);
  const [guider, levels] = ["GUIDER", "SIGMAS"].map((type) => originOf(sampler, at(type))?.node);
  const near = guider?.graph === sampler.graph;
  return {
    input: "guider", source: input(sampler, at("GUIDER")),
    model: near ? input(guider, slotOfType(guider, "MODEL")) : null,
    feeds: originOf(sampler, at("SAMPLER"))?.node.comfyClass, last: PAIR, scaled: guider,
    cfg: guider ? Number(valueOf(guider, "cfg") ?? 1) : null, // BasicGuider: no CFG is CFG 1
    steps: levels ? valueOf(levels, "steps") : undefined, canSearch: true,
    plug(pair) {
      pair.connect(0, sampler, at("SAMPLER"));
      if (wholeWay(levels)) pair.connect(1, sampler, at("SIGMAS"));
    },
  };
}

/** Whether a node is a schedule of so many steps from pure noise on: other levels stay, as for image to image. @param {any} levels */
function wholeWay(levels) {
  if (!levels || slotOfType(levels, "SIGMAS") >= 0 || input(levels, "denoise")) return false;
  return valueOf(levels, "steps") !== undefined && Number(valueOf(levels, "denoise") ?? 1) >= 1;
}

/** @param {string} sentence @returns {any[]} */
function refuse(sentence) {
  toast("info", t("Make it fast"), sentence);
  return [];
}

/** @param {Way} way */
async function fitting(way) {
  const late = new Promise((resolve) => { setTimeout(resolve, AUTOMATIC_WAIT); });
  await Promise.race([presets.ready, late]);
  const checkpoint = way.scaled ? checkpointOf(way.scaled, sourceOf) : "";
  return fittingPreset(presets.list(), { checkpoint, cfg: way.cfg, steps: Number(way.steps) });
}

/** @param {any} sampler @param {Way} way @param {any} card */
async function insert(sampler, way, card) {
  const graph = sampler.graph;
  const taken = nodesIn(graph).map(nodeBox);
  const search = !card && way.canSearch;
  const first = addNode(graph, search ? SEARCH : "SolverSearch_Load");
  const last = addNode(graph, way.last);
  place(first, last, sampler, taken);
  if (search) asSearch(first, sampler, way);
  else asLoad(first, sampler, way, card);
  first.connect(0, last, "solver");
  way.plug(last);
  await grown(first);
  place(first, last, sampler, taken);
  tell(search, card);
  return [first, last];
}

/** The node that decodes what a sampler makes, where it has a VAE, or undefined. @param {any} sampler */
export function decoderAfter(sampler) {
  return targetsOf(sampler, 0).map((end) => end.node)
    .find((node) => node.graph === sampler.graph && input(node, "vae"));
}

/** @param {any} search @param {any} sampler @param {Way} way */
function asSearch(search, sampler, way) {
  feed(search, way.input, way.source);
  for (const [ours, theirs] of TAKEN_OVER) {
    const source = theirs.map((name) => input(sampler, name)).find(Boolean);
    if (source) feed(search, ours, source);
  }
  const decoder = decoderAfter(sampler);
  if (decoder) feed(search, "vae", input(decoder, "vae"));
  const steps = stepsToSearch(way.steps);
  setValue(search, "steps", String(steps));
  setValue(sampler, "steps", steps);
  setValue(search, "cfg", way.cfg ?? undefined); // with a guider only shown
  for (const name of ["cfg", "denoise"]) {
    const source = input(sampler, name);
    if (source) feed(search, name, source);
    else setValue(search, name, valueOf(sampler, name));
  }
}

/** @param {any} load @param {any} sampler @param {Way} way @param {any} card */
function asLoad(load, sampler, way, card) {
  if (way.model) feed(load, "model", way.model);
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
    toast("info", t("Search Solver is wired in"),
      t("No preset is made for this checkpoint and CFG yet. Run searches one, then paints with it."));
  else
    toast("success", t("Solver wired in"),
      card ? t("{name}. Press Run.", { name: card.name ?? card.file }) : t("Load Solver Preset takes what suits your model."));
}

/** Samplers that are meant: the selected ones, else the only one of the open graph. */
function meant() {
  const selected = selectedNodes().flatMap(samplersOf);
  if (selected.length) return selected;
  const all = nodesIn(openGraph()).flatMap(samplersOf);
  return all.length === 1 ? all : [];
}

/** @param {any[]} samplers */
async function makeAllFast(samplers) {
  for (const sampler of samplers) await makeFast(sampler);
}

async function run() {
  const samplers = meant();
  if (!samplers.length) refuse(t("Select the KSampler that shall be faster."));
  await makeAllFast(samplers);
}

register({
  name: "SolverSearch.MakeFast",
  commands: [{ id: COMMAND, label: LABEL, icon: "pi pi-bolt", function: run }],
  menuCommands: [{ path: ["Solver Search"], commands: [COMMAND] }],
  getNodeMenuItems: (/** @type {any} */ node) => settingOn(SETTING) && samplersOf(node).length
    ? [null, { content: t("Make it fast"), callback: () => { makeAllFast(samplersOf(node)); } }] : [],
  getSelectionToolboxCommands: (/** @type {any} */ item) =>
    settingOn(SETTING) && samplersOf(item).length ? [COMMAND] : [],
});
