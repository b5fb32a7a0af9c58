// Load Solver Preset: the list is up to date, suits the connected model first, and the workflow
// remembers which numbers it was made with. The node works without this.
import { allNodes, eachNode, onConnections, onValue, sourceOf, widgetOf } from "./comfy.js";
import { checkpointOf, ordered } from "./order.js";
import { presets } from "./presets.js";

export const NODE = "SolverSearch_Load";

/** Put the list of a node in order, with every preset there is. @param {any} node */
function arrange(node) {
  const widget = widgetOf(node, "preset");
  const cards = presets.list();
  if (!node.graph || !cards.length || !Array.isArray(widget?.options?.values)) return;
  const names = [widget.options.values[0], ...cards.map((card) => card.file)];
  const about = Object.fromEntries(cards.map((card) => [card.file, card]));
  widget.options.values = ordered(names, about, checkpointOf(node, sourceOf));
}

/** Remember the numbers of the picked preset. @param {any} node @param {string} file */
export function pinTo(node, file) {
  const pin = widgetOf(node, "pin");
  if (pin) pin.value = presets.about(file)?.id ?? "";
}

function everyPicker() {
  allNodes((node) => {
    if (node.comfyClass === NODE) arrange(node);
  });
}

eachNode("SolverSearch.Picker", NODE, (node) => {
  const preset = widgetOf(node, "preset");
  if (!preset) return;
  onConnections(node, () => arrange(node));
  onValue(preset, (file) => pinTo(node, file));
  arrange(node);
  presets.ready.then(() => {
    if (widgetOf(node, "pin")?.value === "") pinTo(node, preset.value);
  });
});
presets.onChange(everyPicker);
