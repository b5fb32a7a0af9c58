// Which presets a picker names first.

const LOADER_WIDGETS = ["ckpt_name", "unet_name", "model_name"];

/**
 * File name of the checkpoint at the head of a chain of MODEL nodes, or "".
 * @param {any} node
 * @param {(node: any, input: string) => any} sourceOf
 */
export function checkpointOf(node, sourceOf) {
  const seen = new Set();
  for (let at = sourceOf(node, "model"); at && !seen.has(at); at = sourceOf(at, "model")) {
    seen.add(at);
    for (const name of LOADER_WIDGETS) {
      const value = at.widgets?.find((/** @type {any} */ widget) => widget.name === name)?.value;
      if (value) return baseName(value);
    }
  }
  return "";
}

/** The file's own name, without folders. @param {unknown} path @returns {string} */
export function baseName(path) {
  return String(path).split(/[\\/]/).pop() ?? "";
}

/**
 * Names in the order: automatic entry, this checkpoint, its family, unknown, other checkpoints. What
 * was measured here on this checkpoint counts as made for it, or as another if it was worse.
 * @param {string[]} names
 * @param {Record<string, {model?: string, family?: string, here?: any[]}>} about
 * @param {string} checkpoint
 */
export function ordered(names, about, checkpoint) {
  if (!checkpoint) return names;
  const [automatic, ...rest] = names;
  const family = Object.values(about).find((a) => a.model === checkpoint)?.family;
  const rank = (/** @type {string} */ name) => {
    const known = about[name] ?? {};
    const own = known.here?.find((each) => each.model === checkpoint);
    if (own && own.baseline_error) return own.error < own.baseline_error ? 0 : 3;
    if (known.model === checkpoint) return 0;
    if (family && known.family === family) return 1;
    return known.model ? 3 : 2;
  };
  return [automatic, ...rest.sort((a, b) => rank(a) - rank(b))];
}
