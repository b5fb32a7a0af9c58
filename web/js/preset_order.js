// Load Solver Preset: presets for the connected model first. The node works without this.
import { eachNode, inputExtra, onConnections, sourceOf, widgetOf } from "./comfy.js";

const NODE = "SolverSearch_Load";
const LOADER_WIDGETS = ["ckpt_name", "unet_name", "model_name"];

/** File name of the checkpoint at the head of a chain of MODEL nodes, or "". */
export function checkpointOf(node) {
  const seen = new Set();
  for (let at = sourceOf(node, "model"); at && !seen.has(at); at = sourceOf(at, "model")) {
    seen.add(at);
    for (const name of LOADER_WIDGETS) {
      const value = widgetOf(at, name)?.value;
      if (value) return String(value).split(/[\\/]/).pop();
    }
  }
  return "";
}

/** Names in the order: automatic entry, this checkpoint, its family, unknown, other checkpoints. */
export function ordered(names, about, checkpoint) {
  if (!checkpoint) return names;
  const [automatic, ...rest] = names;
  const family = Object.values(about).find((a) => a.model === checkpoint)?.family;
  const rank = (name) => {
    const known = about[name] ?? {};
    if (known.model === checkpoint) return 0;
    if (family && known.family === family) return 1;
    return known.model ? 3 : 2;
  };
  return [automatic, ...rest.sort((a, b) => rank(a) - rank(b))];
}

function arrange(node) {
  const widget = widgetOf(node, "preset");
  const about = inputExtra(node, "preset", "solver_presets");
  if (!widget || !about || !Array.isArray(widget.options?.values)) return;
  widget.options.values = ordered([...widget.options.values], about, checkpointOf(node));
}

eachNode("SolverSearch.PresetOrder", NODE, (node) => {
  onConnections(node, () => arrange(node));
  arrange(node);
});
