// The tab "Solvers": every preset, what it is good for, and what to do with it.
import { allNodes, linkStyle, onGraphChange, onSetup, settingOn, sidebarTab, tell } from "./comfy.js";
import { button, el } from "./dom.js";
import { receive } from "./drop.js";
import { presets } from "./presets.js";
import { shareDialog } from "./share.js";
import { compareHere, measureHere, useHere } from "./sidebar_actions.js";
import { cardElement } from "./sidebar_card.js";
import { checkpointsIn, chosen, sorts } from "./sidebar_words.js";
import { t } from "./words.js";

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
  measure: measureHere,
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
  const line = el("p", {}, t("{name} is in the bin.", { name: card.name }), " ", button(t("Undo"), async () => {
    try {
      await tell("/restore", { bin });
      line.remove();
      await presets.refresh();
    } catch (error) {
      line.append(el("span", { class: "bad" }, ` ${/** @type {Error} */ (error).message}`));
    }
  }), button("×", () => line.remove(), { "aria-label": t("Dismiss") }));
  panel?.notices.append(line);
}

function makePanel() {
  const list = el("ul", { class: "presets", "aria-label": t("Solver presets") });
  const notices = el("div", { class: "notices", role: "status" });
  const count = el("p", { class: "count", role: "status" });
  const chosenFiles = el("div", { class: "selection", hidden: true });
  const here = el("span", { class: "here" });
  const root = el("section", { class: "solver-search-tab", "aria-label": t("Solvers"), ondrop: dropped,
    ondragover: (/** @type {DragEvent} */ event) => { event.preventDefault(); root.classList.add("over"); },
    ondragleave: () => root.classList.remove("over") },
  el("header", {}, el("h2", {}, t("Solvers")), button(t("Import"), pickFiles, { title: t("Preset files, or a zip of them") })),
  controls(here), notices, count, list, chosenFiles,
  el("p", { class: "zone" }, t("Drop preset files or a zip here to install them.")));
  return { root, list, notices, count, chosenFiles, here };
}

/** @param {HTMLElement} here */
function controls(here) {
  const search = el("input", { type: "search", placeholder: t("Search name, model, family"), "aria-label": t("Search presets"), value: wish.search,
    oninput: (/** @type {any} */ event) => { wish.search = event.target.value; show(); } });
  const sort = el("select", { "aria-label": t("Sort by"),
    onchange: (/** @type {any} */ event) => { wish.sort = event.target.value; show(); } },
  ...Object.entries(sorts()).map(([value, words]) => el("option", { value, selected: value === wish.sort }, words)));
  const filter = el("label", { class: "filter" }, el("input", { type: "checkbox", checked: wish.here,
    onchange: (/** @type {any} */ event) => { wish.here = event.target.checked; show(); } }), el("span", {}, t("For this checkpoint"), here));
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
  panel.here.textContent = wish.checkpoints.length ? ` (${wish.checkpoints.join(", ")})` : t(" (none in this workflow)");
  panel.count.textContent = left.length === cards.length ? t("{count} presets", { count: cards.length })
    : t("{count} of {all} presets", { count: left.length, all: cards.length });
  panel.list.replaceChildren();
  if (left.length) append(panel.list, left, 0);
  else panel.list.append(empty(cards.length));
  for (const { file, error } of presets.broken()) panel.list.append(brokenItem(file, error));
  showSelection();
}

/** @param {HTMLElement} list @param {any[]} left @param {number} from */
function append(list, left, from) {
  const items = left.slice(from, from + PAGE).map((judged) => cardElement(judged, wish.checkpoints, deeds));
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
  const nothing = t("There are no presets yet. Add a Search Solver node to your workflow and press Run: it finds a fast sampler for your checkpoint and saves it here. Or drop a preset from somebody else.");
  const hidden = wish.here ? t("No preset was made for this checkpoint or its family. Search Solver makes one, or show all presets.")
    : t("No preset has these words.");
  return el("li", { class: "empty" }, el("p", {}, all ? hidden : nothing),
    all > 0 && button(t("Show all presets"), () => { wish.here = false; wish.search = ""; rebuild(); }));
}

/** @param {string} file @param {string} error */
function brokenItem(file, error) {
  return el("li", { class: "broken" }, el("h3", {}, file), el("p", { class: "bad" }, error));
}

function showSelection() {
  if (!panel) return;
  const files = [...selection].filter((file) => presets.about(file));
  panel.chosenFiles.hidden = !files.length;
  panel.chosenFiles.replaceChildren(el("span", {}, t("{count} selected", { count: files.length })),
    button(t("Share"), () => shareDialog(files.map((file) => presets.about(file))), { class: "primary" }),
    button(t("Clear"), () => { selection.clear(); show(); }));
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
  sidebarTab({ id: "solver-search", icon: "pi pi-bolt", title: t("Solvers"), tooltip: t("Solvers"),
    render, destroy: () => { panel = null; container = null; } });
  presets.onChange(show);
  onGraphChange(graphChanged);
});
