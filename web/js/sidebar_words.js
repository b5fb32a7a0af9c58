// What the Solvers tab says of a preset, whom it suits, what it finds and in which order.
// Reads cards only; nothing here touches the page.
import { baseName } from "./order.js";
import { t } from "./words.js";

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

/** @typedef {"made" | "measured" | "family" | "unknown" | "other" | "worse" | "unusable" | "none"} Fit */
/** @type {Fit[]} best first */
export const FITS = ["made", "measured", "family", "unknown", "other", "worse", "unusable", "none"];
const SUITABLE = ["made", "measured", "family", "worse"]; // for the open graph's checkpoint, as far as known

/** @param {Fit} fit */
function fitWords(fit) {
  return {
    made: t("Made for this checkpoint"),
    measured: t("Measured here on this checkpoint"),
    family: t("Same family, not measured here"),
    unknown: t("Not measured on this checkpoint"),
    other: t("Other family"),
    worse: t("Measured here: a built-in sampler is better"),
    unusable: t("Not usable here"),
    none: "",
  }[fit];
}

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
  return { fit, words: fitWords(fit) };
}

/** @param {any} card @param {string} checkpoint @param {any[]} cards @returns {Fit} */
function fitOf(card, checkpoint, cards) {
  const own = hereOf(card, [checkpoint]);
  if (own && gainOf(own).kind === "worse") return "worse";
  if (card.model && card.model === checkpoint) return "made";
  if (own) return "measured";
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

/**
 * What was measured on this machine: on the first of these checkpoints, the newest; or null.
 * @param {any} card
 * @param {string[]} checkpoints file names
 * @param {number | null} [cfg] of several the nearest to this
 */
export function hereOf(card, checkpoints, cfg = null) {
  const found = (card.here ?? []).filter((/** @type {any} */ each) => checkpoints.includes(each.model));
  if (cfg === null) return found[0] ?? null;
  const away = (/** @type {any} */ each) => Math.abs((each.guidance ?? 0) - cfg);
  return found.sort((/** @type {any} */ a, /** @type {any} */ b) => away(a) - away(b))[0] ?? null;
}

/** Whether what the file says was found on this machine: by an own search. @param {any} card */
export function foundHere(card) {
  return (card.here ?? []).some((/** @type {any} */ each) => each.error === card.error && each.model === card.model
    && each.baseline_error === card.baseline_error);
}

/** CFG scales it was measured at, in words. @param {any} card */
export function cfgWords(card) {
  if (card.guidance_low !== null && card.guidance_low !== undefined && card.guidance_high)
    return card.guidance_low === card.guidance_high ? `CFG ${short(card.guidance_low)}`
      : t("CFG {low} to {high}", { low: short(card.guidance_low), high: short(card.guidance_high) });
  return card.guidance === null || card.guidance === undefined ? "" : `CFG ${short(card.guidance)}`;
}

/** At which CFG it is known to be good, in a sentence; "" where nothing is said of CFG. @param {any} card */
export function cfgRangeWords(card) {
  const { guidance, guidance_low: low, guidance_high: high } = card;
  if (typeof guidance !== "number") return "";
  if (typeof low === "number" && typeof high === "number")
    return low < high ? t("Better than the built-in samplers from CFG {low} to {high}, as measured.", { low: short(low), high: short(high) })
      : t("Better than the built-in samplers at CFG {cfg} only, as measured.", { cfg: short(guidance) });
  if (card.guidance_measured) return t("Not better than the built-in samplers at any CFG that was measured.");
  return t("Unknown away from CFG {cfg}.", { cfg: short(guidance) });
}

/** Picture size of the search, in pixels where the model's scale is known. @param {any} card */
export function sizeWords(card) {
  if (!card.width || !card.height) return "";
  const frames = card.frames > 1 ? t(", {count} latent frames", { count: card.frames }) : "";
  if (!EIGHTFOLD.has(card.family))
    return t("latent {width} × {height}", { width: card.width, height: card.height }) + frames;
  return `${card.width * PIXELS} × ${card.height * PIXELS}${frames}`;
}

/** @param {any} card */
export function stepWords(card) {
  return card.steps === 1 ? t("1 step") : t("{count} steps", { count: card.steps });
}

/**
 * How much nearer than the best built-in it lands, as a share for a bar and in words.
 * @param {any} card
 * @returns {{kind: "better" | "worse" | "even" | "unknown", share: number, words: string}}
 */
export function gainOf(card) {
  const { error, baseline_error: other } = card;
  const unknown = (/** @type {string} */ words) => ({ kind: /** @type {const} */ ("unknown"), share: 0, words });
  if (typeof error !== "number") return unknown(t("Not measured"));
  const seeds = card.held_out_seeds ? t(", {count} seeds", { count: card.held_out_seeds }) : "";
  if (card.builtin) return { kind: "even", share: 0, words: t("Same as built-in {name}", { name: card.builtin }) + seeds };
  if (!other) return unknown(t("Error {error}, not compared with built-in samplers", { error: short(error) }));
  const share = 1 - error / other;
  const doubt = card.difference_interval ?? (card.error_interval ?? 0) + (card.baseline_interval ?? 0);
  if (Math.abs(other - error) < doubt) return { kind: "even", share: 0, words: t("As near as the best built-in") + seeds };
  const percent = Math.round(Math.abs(share) * 100);
  return share > 0
    ? { kind: "better", share, words: t("Error {percent} % lower than the best built-in", { percent }) + seeds }
    : { kind: "worse", share, words: t("Error {percent} % higher than the best built-in", { percent }) + seeds };
}

/** Where own figures were measured. @param {any} own */
export function hereWords(own) {
  const patched = own.patches ? t(", with LoRA or patches") : "";
  return t("Here, on {model}, CFG {cfg}", { model: own.model || t("this model"), cfg: short(own.guidance ?? 1) }) + patched;
}

/** Everything about a measurement in one line. @param {any} own */
export function measuredWords(own) {
  const parts = [
    own.baseline && t("against {name}", { name: own.baseline }),
    typeof own.error === "number" && t("error {ours}, best built-in {theirs}",
      { ours: short(own.error), theirs: short(own.baseline_error ?? 0) }),
    typeof own.error_median === "number" && t("median {ours} and {theirs}",
      { ours: short(own.error_median), theirs: short(own.baseline_median ?? 0) }),
    typeof own.error_elsewhere === "number" && t("other pictures {ours} % and {theirs} %",
      { ours: Math.round(own.error_elsewhere * 100), theirs: Math.round((own.baseline_elsewhere ?? 0) * 100) }),
    own.created,
  ];
  return parts.filter(Boolean).join(" · ");
}

/** The facts line under a name. @param {any} card */
export function factsOf(card) {
  return [stepWords(card), cfgWords(card), sizeWords(card)].filter(Boolean);
}

/** Checkpoint and family. @param {any} card */
export function originWords(card) {
  return [card.model, card.family].filter(Boolean).join(" · ") || (card.flow ? t("For flow models") : t("For eps and v models"));
}

/** Whether every word of a search is somewhere in a card. @param {any} card @param {string} search */
export function matches(card, search) {
  const said = [card.name, card.file, card.model, card.family, card.method, card.author, card.notes,
    card.state, ...factsOf(card)].join(" ").toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => said.includes(word));
}

/** Orders of the list, with their words. */
export function sorts() {
  return {
    fit: t("Best for this checkpoint"),
    gain: t("Largest gain"),
    newest: t("Newest"),
    steps: t("Fewest steps"),
    name: t("Name"),
  };
}

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
    .filter(({ badge }) => !wish.here || SUITABLE.includes(badge.fit));
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
