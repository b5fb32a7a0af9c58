// What "Make it fast" decides, without a page: is this a sampler, which preset fits, where there
// is room.
import { gainOf, hereOf } from "./sidebar_words.js";

/** Noise steps above which a search is not asked for as many: it would gain little. */
const FEW_STEPS = 10;
/** Steps searched for in that case. */
const USUAL_STEPS = 8;
const SAMPLER_WIDGETS = ["steps", "cfg", "sampler_name"];
const OURS = "SolverSearch_";

/**
 * @typedef {{inputs?: {name: string, type: string}[], outputs?: {type: string}[],
 *   widgets?: {name: string}[], comfyClass?: string, type?: string,
 *   subgraph?: {nodes?: Shape[]}}} Shape what a node looks like
 * @typedef {[number, number, number, number]} Rectangle left, top, width, height
 */

/** Slot of the first input of a type, or -1. @param {Shape} node @param {string} type */
export function slotOfType(node, type) {
  return node.inputs?.findIndex((input) => input.type === type) ?? -1;
}

/** Whether a node is handed its sampler and its guider, as SamplerCustomAdvanced is. @param {Shape} node */
export function takesGuider(node) {
  return ["GUIDER", "SAMPLER", "SIGMAS"].every((type) => slotOfType(node, type) >= 0);
}

/**
 * Whether a node samples: a KSampler, or one shaped like it.
 *
 * It takes a guider, or a MODEL, gives a LATENT or an IMAGE, and has two of a sampler's own widgets,
 * or one and a LATENT to begin from (SamplerCustom).
 * @param {Shape} node
 */
export function isSampler(node) {
  const ours = (/** @type {Shape} */ each) => String(each.comfyClass ?? each.type).startsWith(OURS);
  if (ours(node) || node.subgraph?.nodes?.some(ours)) return false;
  if (takesGuider(node)) return true;
  if (slotOfType(node, "MODEL") < 0) return false;
  const gives = node.outputs?.some((output) => ["LATENT", "IMAGE"].includes(output.type));
  const own = SAMPLER_WIDGETS.filter((name) => node.widgets?.some((widget) => widget.name === name));
  return Boolean(gives) && (own.length > 1 || (own.length === 1 && slotOfType(node, "LATENT") >= 0));
}

/** A node that samples, or the ones in the subgraph that it holds. @param {any} node @returns {any[]} */
export function samplersOf(node) {
  if (isSampler(node)) return [node];
  return [...(node?.subgraph?.nodes ?? [])].flatMap(samplersOf);
}

/** How many steps to search for, from what a sampler node has. @param {unknown} steps */
export function stepsToSearch(steps) {
  const number = Number(steps);
  if (!Number.isInteger(number) || number < 1) return USUAL_STEPS;
  return number > FEW_STEPS ? USUAL_STEPS : number;
}

/**
 * The preset that may be put behind a checkpoint without measuring first, or null.
 *
 * It was searched on this checkpoint at this CFG, or measured on both on this machine and found
 * better than the built-in samplers; not found worse here, made from pure noise, and finished.
 * Among several the one with as many steps as the sampler has wins, then the one that gains most:
 * on this machine where that was measured.
 * @param {any[]} cards
 * @param {{checkpoint: string, cfg?: number | null, steps?: number | null}} wanted
 */
export function fittingPreset(cards, { checkpoint, cfg = null, steps = null }) {
  if (!checkpoint) return null;
  const known = cards.map((card) => ({ card, own: ownAt(card, checkpoint, cfg) }));
  const fitting = known.filter(({ card, own }) =>
    card.state !== "unfinished" && (card.denoise ?? 1) >= 1 &&
    (own ? gainOf(own).kind === "better" : card.model === checkpoint && holdsFor(card, cfg)));
  const rank = (/** @type {any} */ { card, own }) => [card.steps === steps ? 0 : 1, share(own ?? card)];
  fitting.sort((a, b) => compare(rank(a), rank(b)));
  return fitting[0]?.card ?? null;
}

/** What was measured on this machine at this CFG, or null where that tells nothing. @param {any} card @param {string} checkpoint @param {number | null} cfg */
function ownAt(card, checkpoint, cfg) {
  const own = hereOf(card, [checkpoint], cfg);
  const near = own && (cfg === null || Math.abs((own.guidance ?? 1) - cfg) < 1e-6);
  return near && ["better", "worse"].includes(gainOf(own).kind) ? own : null;
}

/** @param {any} card @param {number | null} cfg */
function holdsFor(card, cfg) {
  const low = card.guidance_low ?? card.guidance;
  const high = card.guidance_high ?? card.guidance;
  if (cfg === null || low === null || low === undefined) return true;
  return cfg >= low - 1e-6 && cfg <= high + 1e-6;
}

/** Error as a share of the best built-in's; unmeasured ones last. @param {any} figures a card's, or own ones */
function share(figures) {
  return figures.error && figures.baseline_error ? figures.error / figures.baseline_error : Infinity;
}

/** @param {number[]} a @param {number[]} b */
function compare(a, b) {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value < b[i] ? -1 : 1;
  return 0;
}

/**
 * Top left corner for a block of nodes, near a node and on none.
 * @param {[number, number]} size of the block
 * @param {Rectangle} near the sampler node
 * @param {Rectangle[]} taken every node, with its title
 * @param {number} gap
 * @returns {[number, number]}
 */
export function roomFor([width, height], near, taken, gap = 30) {
  const [left, top, wide, high] = near;
  const places = /** @type {[number, number][]} */ ([]);
  for (let away = 0; away <= 40; away += 1) {
    const step = away * 60;
    places.push([left + wide - width, top - gap - height - step], // above
      [left, top + high + gap + step], // below
      [left - gap - width - step, top - gap - height],
      [left - gap - width - step, top + high + gap]);
  }
  const free = (/** @type {[number, number]} */ [x, y]) =>
    !taken.some((other) => overlap([x, y, width, height], other, gap / 2));
  return places.find(free) ?? places[places.length - 4];
}

/** @param {Rectangle} a @param {Rectangle} b @param {number} margin */
function overlap([ax, ay, aw, ah], [bx, by, bw, bh], margin) {
  return ax < bx + bw + margin && bx < ax + aw + margin &&
    ay < by + bh + margin && by < ay + ah + margin;
}
