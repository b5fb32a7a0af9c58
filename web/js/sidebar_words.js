// What the Solvers tab says of a preset, whom it suits, what it finds and in which order.
// Reads cards only; nothing here touches the page.
import { baseName } from "./order.js";

/** Widgets in which loaders name their file. */
export const LOADER_WIDGETS = ["ckpt_name", "unet_name", "model_name"];
const SLEEPING = [2, 4]; // muted and bypassed nodes load nothing
const RANGE_TOLERANCE = 0.01; // published tables round sigma_max
const PIXELS = 8; // per latent pixel, in the families below
const EIGHTFOLD = new Set(["SD15", "SD20", "SD21UnclipL", "SD21UnclipH", "SDXL", "SDXLRefiner", "SSD1B",
  "Segmind_Vega", "SD3", "Flux", "FluxSchnell", "FluxInpaint", "AuraFlow", "PixArtAlpha", "PixArtSigma",
  "HunyuanDiT", "HunyuanDiT1", "Lumina2", "ZImage", "QwenImage", "Chroma", "HiDream", "KOALA_700M",
  "KOALA_1B", "OmniGen2"]);

/**
 * File names of the models that the awake loaders among these nodes load.
 * @param {any[]} nodes
 * @returns {string[]}
 */
export function checkpointsIn(nodes) {
  const widgets = nodes.filter((node) => !SLEEPING.includes(node.mode)).flatMap((node) => node.widgets ?? []);
  const named = widgets.filter((widget) => LOADER_WIDGETS.includes(widget.name) && widget.value);
  return [...new Set(named.map((widget) => baseName(widget.value)))];
}

/** @typedef {"made" | "family" | "unknown" | "other" | "unusable" | "none"} Fit */
/** @type {Fit[]} best first */
export const FITS = ["made", "family", "unknown", "other", "unusable", "none"];
/** @type {Record<Fit, string>} */
const FIT_WORDS = {
  made: "Made for this checkpoint",
  family: "Same family, not measured here",
  unknown: "Not measured on this checkpoint",
  other: "Other family",
  unusable: "Not usable here",
  none: "",
};

/**
 * How a preset suits the models of the open graph, the best of them.
 * @param {any} card
 * @param {string[]} checkpoints file names
 * @param {any[]} cards all presets: what is known of a checkpoint, they know
 * @returns {{fit: Fit, words: string}}
 */
export function badgeOf(card, checkpoints, cards) {
  const fits = checkpoints.map((checkpoint) => fitOf(card, checkpoint, cards));
  const fit = FITS.find((each) => fits.includes(each)) ?? "none";
  return { fit, words: FIT_WORDS[fit] };
}

/** @param {any} card @param {string} checkpoint @param {any[]} cards @returns {Fit} */
function fitOf(card, checkpoint, cards) {
  if (card.model && card.model === checkpoint) return "made";
  const known = cards.find((each) => each.model === checkpoint);
  if (!known) return "unknown";
  if (known.flow !== card.flow || !sameRange(known.sigma_max, card.sigma_max)) return "unusable";
  if (!card.family || !known.family) return "unknown";
  return card.family === known.family ? "family" : "other";
}

/** @param {number | null} a @param {number | null} b */
function sameRange(a, b) {
  return !a || !b || Math.abs(a - b) <= RANGE_TOLERANCE * Math.max(a, b);
}

/** @param {number} value at most three digits */
function short(value) {
  return String(Number(value.toPrecision(3)));
}

/** CFG scales it was measured at, in words. @param {any} card */
export function cfgWords(card) {
  if (card.guidance_low !== null && card.guidance_low !== undefined && card.guidance_high)
    return card.guidance_low === card.guidance_high
      ? `CFG ${short(card.guidance_low)}` : `CFG ${short(card.guidance_low)} to ${short(card.guidance_high)}`;
  return card.guidance === null || card.guidance === undefined ? "" : `CFG ${short(card.guidance)}`;
}

/** Picture size of the search, in pixels where the model's scale is known. @param {any} card */
export function sizeWords(card) {
  if (!card.width || !card.height) return "";
  const frames = card.frames > 1 ? `, ${card.frames} latent frames` : "";
  if (!EIGHTFOLD.has(card.family)) return `latent ${card.width} × ${card.height}${frames}`;
  return `${card.width * PIXELS} × ${card.height * PIXELS}${frames}`;
}

/** @param {any} card */
export function stepWords(card) {
  return `${card.steps} step${card.steps === 1 ? "" : "s"}`;
}

/**
 * How much nearer than the best built-in it lands, as a share for a bar and in words.
 * @param {any} card
 * @returns {{kind: "better" | "worse" | "even" | "unknown", share: number, words: string}}
 */
export function gainOf(card) {
  const { error, baseline_error: other } = card;
  if (error === null || error === undefined) return { kind: "unknown", share: 0, words: "Not measured" };
  const seeds = card.held_out_seeds ? `, ${card.held_out_seeds} seeds` : "";
  if (card.builtin) return { kind: "even", share: 0, words: `Same as built-in ${card.builtin}${seeds}` };
  if (!other) return { kind: "unknown", share: 0, words: `Error ${short(error)}, not compared with built-in samplers` };
  const share = 1 - error / other;
  const doubt = card.difference_interval ?? (card.error_interval ?? 0) + (card.baseline_interval ?? 0);
  if (Math.abs(other - error) < doubt)
    return { kind: "even", share: 0, words: `As near as the best built-in${seeds}` };
  const percent = Math.round(Math.abs(share) * 100);
  return share > 0
    ? { kind: "better", share, words: `Error ${percent} % lower than the best built-in${seeds}` }
    : { kind: "worse", share, words: `Error ${percent} % higher than the best built-in${seeds}` };
}

/** The facts line under a name. @param {any} card */
export function factsOf(card) {
  return [stepWords(card), cfgWords(card), sizeWords(card)].filter(Boolean);
}

/** Checkpoint and family. @param {any} card */
export function originWords(card) {
  return [card.model, card.family].filter(Boolean).join(" · ") || (card.flow ? "For flow models" : "For eps and v models");
}

/** Whether every word of a search is somewhere in a card. @param {any} card @param {string} search */
export function matches(card, search) {
  const said = [card.name, card.file, card.model, card.family, card.method, card.author, card.notes,
    card.state, ...factsOf(card)].join(" ").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

export const SORTS = {
  fit: "Best for this checkpoint",
  gain: "Largest gain",
  newest: "Newest",
  steps: "Fewest steps",
  name: "Name",
};

/**
 * Cards that a search and a filter leave, in order.
 * @param {any[]} cards
 * @param {{search: string, here: boolean, sort: string, checkpoints: string[]}} wish
 * @returns {{card: any, badge: {fit: Fit, words: string}}[]}
 */
export function chosen(cards, wish) {
  const judged = cards
    .filter((card) => matches(card, wish.search))
    .map((card) => ({ card, badge: badgeOf(card, wish.checkpoints, cards) }))
    .filter(({ badge }) => !wish.here || badge.fit === "made" || badge.fit === "family");
  return judged.sort(orders[wish.sort] ?? orders.fit);
}

/** @typedef {{card: any, badge: {fit: Fit, words: string}}} Judged */
/** @param {Judged} a @param {Judged} b */
const byGain = (a, b) => gainRank(b.card) - gainRank(a.card);
/** @type {Record<string, (a: Judged, b: Judged) => number>} */
const orders = {
  fit: (a, b) => FITS.indexOf(a.badge.fit) - FITS.indexOf(b.badge.fit) ||
    Number(b.card.own) - Number(a.card.own) || byGain(a, b),
  gain: byGain,
  newest: (a, b) => (b.card.mtime ?? 0) - (a.card.mtime ?? 0),
  steps: (a, b) => a.card.steps - b.card.steps || byGain(a, b),
  name: (a, b) => a.card.name.localeCompare(b.card.name, undefined, { numeric: true }),
};

/** @param {any} card a number that is higher where more is known to be won */
function gainRank(card) {
  const gain = gainOf(card);
  return gain.kind === "unknown" ? -Infinity : gain.share - (card.state === "unfinished" ? 1 : 0);
}

/** Fields of a preset as label and text, unknown ones left out. @param {any} about @returns {[string, string][]} */
export function fieldsOf(about) {
  const skipped = ["file", "own", "pictures", "mtime", "ordinary", "promise", "range"];
  const said = Object.entries(about).filter(([name, value]) => !skipped.includes(name) && known(value));
  return said.map(([name, value]) => [label(name), textOf(value)]);
}

/** @param {unknown} value */
function known(value) {
  if (value === null || value === undefined || value === "" || value === 0) return false;
  return typeof value !== "object" || Object.keys(/** @type {object} */ (value)).length > 0;
}

/** @param {string} name */
function label(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** @param {any} value @returns {string} */
function textOf(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  if (Array.isArray(value))
    return value.map(textOf).join(value.some(Array.isArray) ? "\n" : ", ");
  if (value && typeof value === "object")
    return Object.entries(value).map(([name, rows]) => `${label(name)}:\n${textOf(rows)}`).join("\n");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}
