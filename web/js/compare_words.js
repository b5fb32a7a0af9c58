// What a comparison says and in which order; reads its data only.
import { t } from "./words.js";

/** @typedef {{label: string, kind: "reference" | "builtin" | "node_only" | "solver", calls: number,
 *   error: number, interval: number, median: number, errors: number[], images: any[]}} Tile */

/** A comparison if it can be shown, or null: what a browser has kept may be anything. @param {any} raw */
export function asComparison(raw) {
  const number = (/** @type {any} */ value) => typeof value === "number";
  const sound = (/** @type {any} */ tile) => typeof tile?.label === "string" && number(tile.error)
    && number(tile.calls) && Array.isArray(tile.errors) && tile.errors.every(number)
    && Array.isArray(tile.images) && tile.images.every((/** @type {any} */ each) => typeof each?.filename === "string");
  return Array.isArray(raw?.tiles) && raw.tiles.length && raw.tiles.every(sound) ? raw : null;
}

/** The tile that lands nearest to the reference, or null. @param {Tile[]} tiles @returns {Tile | null} */
export function winnerOf(tiles) {
  const rivals = tiles.filter((tile) => tile.kind !== "reference");
  return rivals.reduce((/** @type {Tile | null} */ best, tile) => (!best || tile.error < best.error ? tile : best), null);
}

/** The best solver of ours, or null. @param {Tile[]} tiles */
export function oursOf(tiles) {
  return winnerOf(tiles.filter((tile) => tile.kind === "solver"));
}

/** The best of ComfyUI's own at as many calls as ours, or null. @param {Tile[]} tiles */
export function builtinOf(tiles) {
  const others = tiles.filter((tile) => tile.kind === "builtin" || tile.kind === "node_only");
  const calls = oursOf(tiles)?.calls;
  const fair = others.filter((tile) => tile.calls === calls);
  return winnerOf(fair.length ? fair : others);
}

/** Numbers of the shown seeds, the one on which ours lands furthest away first. @param {Tile[]} tiles @returns {number[]} */
export function worstFirst(tiles) {
  const ours = oursOf(tiles) ?? winnerOf(tiles);
  if (!ours) return [];
  const shown = ours.images.map((_, seed) => seed);
  return shown.sort((a, b) => (ours.errors[b] ?? 0) - (ours.errors[a] ?? 0));
}

/**
 * On how many seeds ours is nearer, and what the best built-in needs for the same.
 * @param {{tiles: Tile[], seeds: number, sentence?: string, nearer?: number, equal?: {label: string, steps: number | null, calls: number, most: number} | null}} comparison
 */
export function sentenceOf({ tiles, seeds, sentence = "", nearer, equal }) {
  if (nearer === undefined) return sentence;
  const first = t("'{name}' is nearer on {nearer} of {seeds} seeds", { name: oursOf(tiles)?.label ?? "", nearer, seeds });
  if (!equal) return first + t(".");
  if (equal.steps === null)
    return first + t("; {name} needs more than {most} steps for the same.", { name: equal.label, most: equal.most });
  const calls = equal.calls === equal.steps ? "" : t(" ({calls} model calls)", { calls: equal.calls });
  return first + t("; {name} needs {steps} steps{calls} for the same.", { name: equal.label, steps: equal.steps, calls });
}

/** Name of a tile for people. @param {Tile} tile */
export function nameOf(tile) {
  if (tile.kind === "reference") return t("Reference");
  return tile.kind === "solver" ? tile.label : t("Built-in {name}", { name: tile.label });
}

/**
 * Sampler, scheduler and shift of a built-in's label such as "dpmpp_2m/sgm_uniform@3".
 * @param {string} label
 */
export function settingOf(label) {
  const [, sampler, scheduler, shift] = /^([^/@]+)(?:\/([^@]+))?(?:@(.+))?$/.exec(label) ?? [];
  return { sampler: sampler ?? label, scheduler: scheduler ?? "", shift: shift ?? "" };
}

/** What to choose in a KSampler to have what a built-in tile shows. @param {Tile} tile */
export function howToUse(tile) {
  const { sampler, scheduler, shift } = settingOf(tile.label);
  const chosen = scheduler ? t("{sampler} with {scheduler}", { sampler, scheduler }) : sampler;
  const shifted = shift ? t(", and shift {shift} in a ModelSampling node", { shift }) : "";
  return t("A built-in sampler lands nearest. In your KSampler choose {chosen} ({calls} model calls){shifted}.",
    { chosen, calls: tile.calls, shifted });
}
