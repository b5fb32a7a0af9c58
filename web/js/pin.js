// Load Solver Preset: the workflow remembers which numbers it was made with.
import { eachNode, inputExtra, onValue, widgetOf } from "./comfy.js";

const NODE = "SolverSearch_Load";

/** Id of a preset's numbers by its file name, or "". */
export function idOf(about, name) {
  return about?.[name]?.id ?? "";
}

eachNode("SolverSearch.Pin", NODE, (node) => {
  const preset = widgetOf(node, "preset");
  const pin = widgetOf(node, "pin");
  if (!preset || !pin) return;
  const about = () => inputExtra(node, "preset", "solver_presets");
  if (!pin.value) pin.value = idOf(about(), preset.value);
  onValue(preset, (name) => {
    pin.value = idOf(about(), name);
  });
});
