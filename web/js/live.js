// The live search: a card on Search Solver, and all searches in a panel at the bottom.
import {
  bottomTab, domWidget, eachNode, executionIdOf, linkStyle, register, rootGraph, settingOn,
} from "./comfy.js";
import { el, fill } from "./dom.js";
import { searches } from "./live_states.js";
import { liveView } from "./live_view.js";
import { beforehand } from "./live_words.js";
import { hostWords, saidParts } from "./said.js";
import { asSaid, keep, kept } from "./said_store.js";
import { t } from "./words.js";

const NODE = "SolverSearch_Search";
const HEIGHT = 290; // pixels of the card, kept free from the beginning: a node that grows covers others

/** Where the cost that a node told last is kept. @param {any} node */
function costKey(node) {
  return `cost/${rootGraph()?.id}/${executionIdOf(node)}`;
}

/** A line until there is a search, then its view. @param {any} node @param {HTMLElement} element */
function follow(node, element) {
  const view = liveView({ told: settingOn("SolverSearch.Said") });
  let told = kept(localStorage, costKey(node))?.verdict ?? "";
  const render = () => {
    if (!node.graph) return void stop();
    const state = searches.of(executionIdOf(node));
    if (!state) return fill(element, el("p", { class: "faint" }, beforehand(told)));
    const cost = state.estimate?.text ?? told;
    if (cost !== told) keep(localStorage, costKey(node), { verdict: cost, warnings: [], details: [] });
    told = cost;
    view.show(state);
    if (view.element.parentElement !== element) fill(element, view.element);
  };
  const stop = searches.onChange(render);
  render();
}

/** One view for each search, the newest on top. @param {HTMLElement} container */
function panel(container) {
  const element = el("div", { class: "solver-search-card panel" });
  fill(container, element);
  /** @type {Map<string, {whole: HTMLElement, show: (state: any) => void}>} */
  const views = new Map();
  const render = () => {
    if (!container.isConnected && views.size) return void stop();
    const all = searches.all().reverse();
    for (const state of all) {
      const held = views.get(state.node) ?? withReport();
      views.set(state.node, held);
      held.show(state);
    }
    const wanted = all.map((state) => views.get(state.node)?.whole);
    if (wanted.some((whole, i) => element.children[i] !== whole)) fill(element, ...wanted);
    if (!all.length) fill(element, el("p", { class: "faint" }, t("No search yet. Add the node Search Solver, or make a KSampler fast, and watch it here.")));
  };
  const stop = searches.onChange(render);
  render();
}

/** A view and, when the search has ended, its report. */
function withReport() {
  const [view, report] = [liveView({ told: true }), el("div", { class: "solver-search-said" })];
  const whole = el("section", {}, view.element, report);
  return {
    whole,
    /** @param {any} state */
    show(state) {
      view.show(state);
      const said = asSaid(state.report);
      fill(report, ...(said ? saidParts(said) : []));
    },
  };
}

linkStyle("cards.css");
register({
  name: "SolverSearch.Live",
  setup() {
    if (settingOn("SolverSearch.Live")) bottomTab("solver-search", t("Solver search"), panel);
  },
});
eachNode("SolverSearch.LiveCard", NODE, (node) => {
  if (!settingOn("SolverSearch.Live")) return;
  const element = el("div", { class: "solver-search-card live-card", role: "region", tabIndex: 0, "aria-label": t("This search") });
  const place = el("div");
  element.append(place);
  domWidget(node, "solver_search_live", element, { height: HEIGHT });
  hostWords(node, element);
  follow(node, place);
});
