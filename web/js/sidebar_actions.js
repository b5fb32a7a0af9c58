// What the buttons of the Solvers tab do to the open graph. Each answers with a sentence.
import { allNodes, placeNode, rememberGraph, selectedNodes, setValue, showNode, sourceOf, targetsOf, widgetOf } from "./comfy.js";
import { isSampler } from "./fast_plan.js";
import { decoderAfter, makeFast } from "./make_fast.js";
import { measure } from "./measure.js";
import { t } from "./words.js";

const LOAD = "SolverSearch_Load";
const USE = "SolverSearch_Use";
const COMPARE = "SolverSearch_Compare";
export const SOLVER_INPUTS = ["solver", "solver_2", "solver_3"];

/** @typedef {{words: string, offer?: {label: string, act: () => Promise<Answer> | Answer}}} Answer what to tell, and a next step */

/** @param {string} nodeClass @returns {any[]} */
function nodesOfClass(nodeClass) {
  /** @type {any[]} */
  const found = [];
  allNodes((node) => node.comfyClass === nodeClass && found.push(node));
  return found;
}

/** The selected node of a class, or the only one. @param {any[]} nodes */
function meant(nodes) {
  const selected = selectedNodes().filter((node) => nodes.includes(node));
  if (selected.length === 1) return selected[0];
  return nodes.length === 1 ? nodes[0] : null;
}

/** @returns {any[]} */
function samplers() {
  /** @type {any[]} */
  const found = [];
  allNodes((node) => widgetOf(node, "sampler_name") && input(node, "model") && input(node, "latent_image") && found.push(node));
  return found;
}

/** @param {any} node @param {string} name */
function input(node, name) {
  return node.inputs?.find((/** @type {any} */ each) => each.name === name);
}

/**
 * Use a preset in the open graph: in its Load node, or in front of its KSampler.
 * @param {any} card
 * @param {any[]} [except] Load nodes that are not meant
 * @returns {Answer}
 */
export function useHere(card, except = []) {
  const loads = nodesOfClass(LOAD).filter((node) => !except.includes(node));
  const load = meant(loads);
  if (load) return setOn(load, card);
  if (loads.length)
    return { words: t("There are {count} Load Solver Preset nodes. Select the one you mean and press Use here again.", { count: loads.length }) };
  const sampler = meant(samplers());
  if (sampler) return offerInsert(sampler, card);
  if (samplers().length) return { words: t("Select the KSampler you mean and press Use here again.") };
  return { words: t("There is no KSampler in this workflow. Open one, or add a Load Solver Preset node."),
    offer: { label: t("Add Load Solver Preset"), act: () => addLoad(card) } };
}

/** @param {any} load @param {any} card @returns {Answer} */
function setOn(load, card) {
  setValue(load, "preset", card.file);
  showNode(load);
  rememberGraph();
  const used = targetsOf(load, 0).some((end) => end.node.comfyClass);
  return { words: used ? t("Load Solver Preset now has {name}.", { name: card.name })
    : t("Load Solver Preset now has {name}. Connect its solver to Use Solver.", { name: card.name }) };
}

/** @param {any} sampler @param {any} card @returns {Answer} */
function offerInsert(sampler, card) {
  return { words: t("Put it between the model and {sampler}?", { sampler: sampler.title ?? "KSampler" }),
    offer: { label: t("Insert"), act: () => insert(sampler, card) } };
}

/** @param {any} sampler @param {any} card @returns {Promise<Answer>} */
async function insert(sampler, card) {
  await makeFast(sampler, { preset: card.file });
  return { words: t("{name} now samples for {sampler}. Undo takes it out again.", { name: card.name, sampler: sampler.title ?? "KSampler" }) };
}

/** @param {any} card @returns {Answer} */
function addLoad(card) {
  const load = placeNode(null, LOAD);
  if (!load) return { words: t("ComfyUI does not know Load Solver Preset. Restart it and reload this page.") };
  setOn(load, card);
  return { words: t("Load Solver Preset is there with {name}. Connect its solver to Use Solver, and that between your model and the KSampler.", { name: card.name }) };
}

/**
 * Measure a preset on what the open graph's sampler samples with, aside from the graph.
 * @param {any} card
 * @returns {Promise<Answer>}
 * @throws {Error} with a sentence, if it cannot begin
 */
export async function measureHere(card) {
  /** @type {any[]} */
  const all = [];
  allNodes((node) => (isSampler(node) || (input(node, "guider") && input(node, "latent_image"))) && all.push(node));
  if (!all.length) return { words: t("There is no KSampler in this workflow: its model, prompts, CFG and size are what is measured on.") };
  const sampler = meant(all);
  if (!sampler) return { words: t("Select the KSampler you mean and press Measure again.") };
  await measure(card, sampler);
  return { words: "" };
}

/**
 * Compare a preset with ComfyUI's own samplers on the open graph's model.
 * @param {any} card
 * @returns {Answer}
 */
export function compareHere(card) {
  const compares = nodesOfClass(COMPARE);
  const compare = meant(compares);
  if (compare) return connectTo(compare, card);
  if (compares.length)
    return { words: t("There are {count} Compare Solvers nodes. Select the one you mean and press again.", { count: compares.length }) };
  return newComparison(meant(samplers()), card);
}

/** @param {any} compare @param {any} card @returns {Answer} */
function connectTo(compare, card) {
  if (SOLVER_INPUTS.some((name) => presetAt(compare, name) === card.file))
    return { words: `${t("{name} is in the comparison already.", { name: card.name })} ${whatIsMissing(compare)}` };
  const free = SOLVER_INPUTS.find((name) => input(compare, name)?.link == null);
  if (!free) return { words: t("Compare Solvers has three solvers already. Take one away and press again.") };
  const row = SOLVER_INPUTS.indexOf(free);
  const load = placeNode(compare.graph, LOAD, [compare.pos[0] - 360, compare.pos[1] + row * 180]);
  setValue(load, "preset", card.file);
  load.connect(0, compare, compare.inputs.indexOf(input(compare, free)));
  showNode(compare);
  rememberGraph();
  return { words: `${t("{name} is in the comparison.", { name: card.name })} ${whatIsMissing(compare)}` };
}

/** File of the preset that a Compare node gets on an input, or "". @param {any} compare @param {string} name */
export function presetAt(compare, name) {
  const source = sourceOf(compare, name);
  return source?.comfyClass === LOAD ? String(widgetOf(source, "preset")?.value ?? "") : "";
}

/** @param {any} sampler null: none is meant @param {any} card @returns {Answer} */
function newComparison(sampler, card) {
  const place = sampler ? /** @type {[number, number]} */ ([sampler.pos[0] + 420, sampler.pos[1] + sampler.size[1] + 120]) : undefined;
  const compare = placeNode(sampler?.graph ?? null, COMPARE, place);
  if (!compare) return { words: t("ComfyUI does not know Compare Solvers. Restart it and reload this page.") };
  if (sampler) likeSampler(compare, sampler);
  return connectTo(compare, card);
}

/** Give a Compare node what a KSampler has. @param {any} compare @param {any} sampler */
function likeSampler(compare, sampler) {
  const names = { model: "model", positive: "positive", negative: "negative", latent: "latent_image" };
  for (const [own, theirs] of Object.entries(names)) join(feeding(sampler, theirs), compare, own);
  const decoder = decoderAfter(sampler);
  if (decoder) join(feeding(decoder, "vae"), compare, "vae");
  const cfg = widgetOf(sampler, "cfg")?.value;
  if (cfg !== undefined) setValue(compare, "cfg", cfg);
}

/** What feeds an input in the same graph, before any Use Solver. @param {any} node @param {string} name @returns {{node: any, slot: number} | null} */
function feeding(node, name) {
  const slot = node.inputs?.indexOf(input(node, name)) ?? -1;
  const link = slot < 0 ? null : node.getInputLink(slot);
  const source = link && node.graph.getNodeById(link.origin_id);
  if (!source) return null;
  return source.comfyClass === USE ? feeding(source, "model") : { node: source, slot: link.origin_slot };
}

/** @param {{node: any, slot: number} | null} from @param {any} to @param {string} name */
function join(from, to, name) {
  if (from) from.node.connect(from.slot, to, to.inputs.indexOf(input(to, name)));
}

/** @param {any} compare */
function whatIsMissing(compare) {
  const needed = ["model", "positive", "negative", "vae", "latent"];
  const missing = needed.filter((name) => input(compare, name)?.link == null);
  if (missing.length) return t("Connect {inputs} of Compare Solvers, then press Run.", { inputs: missing.join(", ") });
  return t("Press Run: the same seeds are sampled with it, with built-in samplers and with the 100 step reference.");
}
