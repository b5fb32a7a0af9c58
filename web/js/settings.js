// Settings page: every part of ours can be switched off. The nodes work without this.
import { addSwitch } from "./comfy.js";

/** @type {[string, string, string, string][]} id, group, name, tooltip */
const PARTS = [
  ["Cards", "On the nodes", "Preset card in Load Solver Preset",
    "Picture, curve and what fits your graph, before you press Run."],
  ["Live", "On the nodes", "Live view in Search Solver",
    "The error falling, the picture now beside the reference, and the time left."],
  ["Said", "On the nodes", "Keep what our nodes say on them",
    "Verdicts and warnings stay on the node after the run and after a reload."],
  ["CompareView", "On the nodes", "Large pictures in Compare Solvers",
    "Hold to flip or drag a slider between reference, best built-in and your solver."],
  ["Sidebar", "In the page", 'Sidebar tab "Solvers"',
    "All presets as cards: use, compare, share, rename, delete. Reload the page after changing it."],
  ["MakeFast", "In the page", '"Make it fast" on KSampler',
    "In the menu of a KSampler and above it when it is selected: wires a solver with one click."],
  ["Drop", "In the page", "Install a preset by dropping its file",
    "Drop a .safetensors preset on the canvas: see what is in it, then install it with a click."],
];

for (const [part, group, name, tooltip] of PARTS)
  addSwitch(`SolverSearch.Settings.${part}`, {
    id: `SolverSearch.${part}`, category: ["Solver Search", group, part], name, tooltip,
    defaultValue: true,
  });

addSwitch("SolverSearch.Settings", {
  id: "SolverSearch.DropDown",
  category: ["Solver Search", "KSampler", "DropDown"],
  name: 'Offer "searched" in the menus of KSampler (restart ComfyUI to apply)',
  tooltip:
    "Adds one sampler and one scheduler at the end of ComfyUI's lists. They take the preset that suits your model best.",
});
