// The tab "Solvers": every preset, what it is good for, and what to do with it.
import { allNodes, linkStyle, onGraphChange, onSetup, settingOn, sidebarTab, tell, urlOf } from "./comfy.js";
import { button, el } from "./dom.js";
import { receive } from "./drop.js";
import { presets } from "./presets.js";
import { compareHere, useHere } from "./sidebar_actions.js";
import { cardElement } from "./sidebar_card.js";
import { checkpointsIn, chosen, SORTS } from "./sidebar_words.js";

const PAGE = 24; // cards that are made at once
const WAIT = 300; // ms after a change of the graph

const wish = { search: "", here: false, sort: "fit", checkpoints: /** @type {string[]} */ ([]) };
/** @type {Set<string>} */
const selection = new Set();
/** @type {ReturnType<typeof makePanel> | null} */
let panel = null;

/** @type {import("./sidebar_card.js").Deeds} */
const deeds = {
  use: useHere,
  compare: compareHere,
  async rename(card, name) {
    await tell("/rename", { file: card.file, name });
    await presets.refresh();
  },
  async remove(card) {
    const { bin } = await tell("/delete", { file: card.file });
    selection.delete(card.file);
    offerUndo(card, bin);
    await presets.refresh();
  },
  select(file, on) {
    if (on) selection.add(file);
    else selection.delete(file);
    showSelection();
  },
  selected: (file) => selection.has(file),
};

/** @param {any} card @param {string} bin */
function offerUndo(card, bin) {
  const line = el("p", {}, `${card.name} is in the bin. `, button("Undo", async () => {
    try {
      await tell("/restore", { bin });
      line.remove();
      await presets.refresh();
    } catch (error) {
      line.append(el("span", { class: "bad" }, ` ${/** @type {Error} */ (error).message}`));
    }
  }), button("×", () => line.remove(), { "aria-label": "Dismiss" }));
  panel?.notices.append(line);
}

function makePanel() {
  const list = el("ul", { class: "presets", "aria-label": "Solver presets" });
  const notices = el("div", { class: "notices", role: "status" });
  const count = el("p", { class: "count", role: "status" });
  const chosenFiles = el("div", { class: "selection", hidden: true });
  const here = el("span", { class: "here" });
  const root = el("section", { class: "solver-search-tab", "aria-label": "Solvers", ondrop: dropped,
    ondragover: (/** @type {DragEvent} */ event) => { event.preventDefault(); root.classList.add("over"); },
    ondragleave: () => root.classList.remove("over") },
  el("header", {}, el("h2", {}, "Solvers"), button("Import", pickFiles, { title: "Preset files, or a zip of them" })),
  controls(here), notices, count, list, chosenFiles,
  el("p", { class: "zone" }, "Drop preset files or a zip here to install them."));
  return { root, list, notices, count, chosenFiles, here };
}

/** @param {HTMLElement} here */
function controls(here) {
  const search = el("input", { type: "search", placeholder: "Search name, model, family", "aria-label": "Search presets", value: wish.search,
    oninput: (/** @type {any} */ event) => { wish.search = event.target.value; show(); } });
  const sort = el("select", { "aria-label": "Sort by",
    onchange: (/** @type {any} */ event) => { wish.sort = event.target.value; show(); } },
  ...Object.entries(SORTS).map(([value, words]) => el("option", { value, selected: value === wish.sort }, words)));
  const filter = el("label", { class: "filter" }, el("input", { type: "checkbox", checked: wish.here,
    onchange: (/** @type {any} */ event) => { wish.here = event.target.checked; show(); } }), el("span", {}, "For this checkpoint", here));
  return el("div", { class: "controls" }, search, sort, filter);
}

/** @param {DragEvent} event */
function dropped(event) {
  panel?.root.classList.remove("over");
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  event.stopPropagation();
  receive([...event.dataTransfer.files], { asked: true });
}

function pickFiles() {
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "file", accept: ".safetensors,.zip", multiple: true }));
  input.addEventListener("change", () => receive([...(input.files ?? [])], { asked: true }));
  input.click();
}

/** Make the list anew, the first cards at once and the others when they come into view. */
function show() {
  if (!panel) return;
  const cards = presets.list();
  const left = chosen(cards, wish);
  panel.here.textContent = wish.checkpoints.length ? ` (${wish.checkpoints.join(", ")})` : " (none in this workflow)";
  panel.count.textContent = left.length === cards.length ? `${cards.length} presets` : `${left.length} of ${cards.length} presets`;
  panel.list.replaceChildren();
  if (left.length) append(panel.list, left, 0);
  else panel.list.append(empty(cards.length));
  for (const { file, error } of presets.broken()) panel.list.append(brokenItem(file, error));
  showSelection();
}

/** @param {HTMLElement} list @param {any[]} left @param {number} from */
function append(list, left, from) {
  const items = left.slice(from, from + PAGE).map((judged) => cardElement(judged, deeds));
  const rest = el("li", { class: "rest", "aria-hidden": "true" });
  const before = list.querySelector(":scope > .broken");
  for (const item of items) list.insertBefore(item, before);
  if (from + PAGE >= left.length) return;
  list.insertBefore(rest, before);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    rest.remove();
    if (list.isConnected) append(list, left, from + PAGE);
  }, { rootMargin: "600px" }).observe(rest);
}

/** @param {number} all */
function empty(all) {
  const nothing = "There are no presets yet. Add a Search Solver node to your workflow and press Run: it finds a fast sampler for your checkpoint and saves it here. Or drop a preset from somebody else.";
  const hidden = wish.here ? "No preset was made for this checkpoint or its family. Search Solver makes one, or show all presets." : "No preset has these words.";
  return el("li", { class: "empty" }, el("p", {}, all ? hidden : nothing),
    all > 0 && button("Show all presets", () => { wish.here = false; wish.search = ""; rebuild(); }));
}

/** @param {string} file @param {string} error */
function brokenItem(file, error) {
  return el("li", { class: "broken" }, el("h3", {}, file), el("p", { class: "bad" }, error));
}

function showSelection() {
  if (!panel) return;
  const files = [...selection].filter((file) => presets.about(file));
  panel.chosenFiles.hidden = !files.length;
  const query = files.map((file) => `file=${encodeURIComponent(file)}`).join("&");
  panel.chosenFiles.replaceChildren(el("span", {}, `${files.length} selected`),
    el("a", { class: "button primary", href: urlOf(`/export?${query}`), download: "solver presets.zip" }, "Export as zip"),
    button("Clear", () => { selection.clear(); show(); }));
}

/** @type {HTMLElement | null} */
let container = null;

function rebuild() {
  panel = makePanel();
  container?.replaceChildren(panel.root);
  show();
}

/** @param {HTMLElement} place */
function render(place) {
  if (panel && place.contains(panel.root)) return;
  container = place;
  place.style.height = "100%";
  readGraph();
  rebuild();
}

/** Whether the open graph loads other checkpoints than before. */
function readGraph() {
  /** @type {any[]} */
  const nodes = [];
  allNodes((node) => nodes.push(node));
  const now = checkpointsIn(nodes);
  const changed = now.join("\n") !== wish.checkpoints.join("\n");
  wish.checkpoints = now;
  return changed;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
function graphChanged() {
  clearTimeout(waiting);
  waiting = setTimeout(() => { if (panel && readGraph()) show(); }, WAIT);
}

onSetup("SolverSearch.Sidebar", () => {
  if (!settingOn("SolverSearch.Sidebar")) return;
  linkStyle("sidebar.css");
  sidebarTab({ id: "solver-search", icon: "pi pi-bolt", title: "Solvers", tooltip: "Solvers",
    render, destroy: () => { panel = null; container = null; } });
  presets.onChange(show);
  onGraphChange(graphChanged);
});
