// What a comparison says and in which order; reads its data only.

/** @typedef {{label: string, kind: "reference" | "builtin" | "node_only" | "solver", calls: number,
 *   error: number, interval: number, median: number, errors: number[], images: any[]}} Tile */

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

/** Name of a tile for people. @param {Tile} tile */
export function nameOf(tile) {
  if (tile.kind === "reference") return "Reference";
  return tile.kind === "solver" ? tile.label : `Built-in ${tile.label}`;
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
  const steps = ` (${tile.calls} model calls)`;
  const shifted = shift ? `, and shift ${shift} in a ModelSampling node` : "";
  return `A built-in sampler lands nearest. In your KSampler choose ${sampler}` +
    `${scheduler ? ` with ${scheduler}` : ""}${steps}${shifted}.`;
}
