// Settings page. The nodes work without this.
import { addSwitch } from "./comfy.js";

addSwitch("SolverSearch.Settings", {
  id: "SolverSearch.DropDown",
  category: ["Solver Search", "KSampler", "DropDown"],
  name: 'Offer "searched" in the menus of KSampler',
  tooltip:
    "Adds one sampler and one scheduler at the end of ComfyUI's lists. They take the preset that suits your model best. Restart ComfyUI after changing it.",
});
