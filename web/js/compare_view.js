// Compare Solvers: one large picture to flip between reference, best built-in and ours.
import {
  domWidget, eachNode, growLater, hasPicture, keyOf, linkStyle, nodeById, onExecuted, onSetup,
  outputOf, pictureUrl, settingOn, sourceOf, targetsOf,
} from "./comfy.js";
import { choices, holdButton, makeStage, seedName, slider } from "./compare_stage.js";
import { button, el, fill } from "./dom.js";
import { asComparison, builtinOf, howToUse, oursOf, sentenceOf, winnerOf, worstFirst } from "./compare_words.js";
import { dialogOf } from "./drop_dialog.js";
import { nodeStore } from "./node_store.js";
import { presets } from "./presets.js";
import { presetAt, SOLVER_INPUTS, useHere } from "./sidebar_actions.js";
import { tellAnswer } from "./sidebar_card.js";
import { t } from "./words.js";

const NODE = "SolverSearch_Compare";
const store = nodeStore("SolverSearch.Compared", 12); // some kB each
/** @typedef {import("./compare_words.js").Tile} Tile */
/** @typedef {{tiles: Tile[], sentence: string, seeds: number, shown?: number[]}} Comparison shown: which seeds have pictures, from 0 */
/** @type {WeakMap<any, {place: HTMLElement}>} */
const views = new WeakMap();

/** @param {any} output of a node @returns {Comparison | null} */
function comparisonOf(output) {
  return asComparison(output?.solver_search?.[0]?.compare);
}

/** @param {any} node @param {Comparison | null} comparison */
function showIn(node, comparison) {
  if (!comparison || !settingOn("SolverSearch.CompareView")) return;
  const view = views.get(node) ?? attach(node);
  fill(view.place, viewOf(comparison, node, true));
  growLater(node); // for ComfyUI's preview of the sheet
}

/** @param {any} node */
function attach(node) {
  const place = el("div", { class: "solver-search-compare" });
  domWidget(node, "compare_view", place, { height: 320 });
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, 420), Math.max(node.size[1], height)]);
  const view = { place };
  views.set(node, view);
  return view;
}

/**
 * The viewer, in the node or in a window of its own.
 * @param {Comparison} comparison
 * @param {any} node
 * @param {boolean} small
 */
function viewOf(comparison, node, small) {
  const shown = comparison.tiles.filter((tile) => tile.images?.length);
  const rival = builtinOf(shown);
  const left = shown.find((tile) => tile.kind === "reference") ?? rival ?? shown[0];
  const order = worstFirst(shown);
  const state = { left, right: oursOf(shown) ?? left, seed: order[0] ?? 0, split: 50, held: false, numbers: comparison.shown ?? [] };
  const stage = makeStage(state);
  const answer = el("div", { class: "answer", role: "status" });
  return el("div", { class: small ? "view small" : "view" }, el("p", { class: "sentence" }, sentenceOf(comparison)),
    choices(shown, state, stage.draw), stage.element, slider(state, stage.draw),
    el("div", { class: "deeds" }, holdButton(state, stage.draw),
      small && button(t("Enlarge"), () => enlarge(comparison, node)),
      button(t("Use winner"), () => tellAnswer(answer, useWinner(comparison.tiles, node)), { class: "primary" })),
    answer, filmstrip(shown, order, state, stage.draw));
}

/** @param {Comparison} comparison @param {any} node */
function enlarge(comparison, node) {
  const dialog = dialogOf(t("Comparison"), viewOf(comparison, node, false));
  dialog.classList.add("solver-search-compare");
  dialog.append(button(t("Close"), () => dialog.close(), { class: "close" }));
}

/**
 * One small picture a seed, the worst of ours first.
 * @param {Tile[]} shown
 * @param {number[]} order
 * @param {import("./compare_stage.js").State} state
 * @param {() => void} draw
 */
function filmstrip(shown, order, state, draw) {
  const ours = oursOf(shown) ?? shown[0];
  const frames = order.map((seed) => button("", () => {
    state.seed = seed;
    frames.forEach((frame, i) => frame.setAttribute("aria-pressed", String(order[i] === seed)));
    draw();
  }, { "aria-pressed": String(seed === state.seed), "aria-label": t("{seed}, error {error}", { seed: seedName(state, seed), error: ours.errors[seed]?.toFixed(3) ?? "" }) }));
  frames.forEach((frame, i) => frame.append(
    el("img", { src: pictureUrl(ours.images[order[i]]), alt: "", loading: "lazy", draggable: "false" }),
    el("span", {}, ours.errors[order[i]]?.toFixed(3) ?? "")));
  return el("div", { class: "strip", role: "group", "aria-label": t("Seeds, the furthest from the reference first") }, ...frames);
}

/** @param {Tile[]} tiles @param {any} node @returns {import("./sidebar_actions.js").Answer} */
function useWinner(tiles, node) {
  const winner = winnerOf(tiles);
  if (!winner) return { words: t("There is nothing to choose from.") };
  if (winner.kind !== "solver") return { words: howToUse(winner) };
  const place = tiles.filter((tile) => tile.kind === "solver").indexOf(winner);
  const card = presets.about(presetAt(node, connected(node)[place])) ??
    presets.list().find((each) => each.name === winner.label);
  return card ? useHere(card, loadsOf(node)) : { words: t("{name} has no file yet. Save it with Save Solver Preset.", { name: winner.label }) };
}

/** Names of the solver inputs in use, in the order of the tiles. @param {any} node @returns {string[]} */
function connected(node) {
  return SOLVER_INPUTS.filter((name) => sourceOf(node, name));
}

/** The Load nodes that only feed the comparison: the winner does not belong there. @param {any} node */
function loadsOf(node) {
  const feeding = SOLVER_INPUTS.map((name) => sourceOf(node, name)).filter(Boolean);
  return feeding.filter((load) => targetsOf(load, 0).every((end) => end.node === node));
}

/** What a node compared in an earlier run, as far as its pictures are still there. @param {any} node */
async function again(node) {
  const before = asComparison(store.kept(localStorage, keyOf(node)));
  const picture = before?.tiles.flatMap((/** @type {Tile} */ tile) => tile.images)[0];
  if (picture && await hasPicture(picture) && !views.has(node)) showIn(node, before);
}

eachNode("SolverSearch.CompareView", NODE, (node) => {
  const ran = comparisonOf(outputOf(node));
  if (ran) showIn(node, ran);
  else if (keyOf(node)) again(node);
});

onSetup("SolverSearch.CompareViewEvents", () => {
  linkStyle("sidebar.css");
  onExecuted(({ node, output }) => {
    const [ran, comparison] = [nodeById(node), comparisonOf(output)];
    if (ran?.comfyClass !== NODE || !comparison) return;
    showIn(ran, comparison);
    if (keyOf(ran)) store.keep(localStorage, keyOf(ran), comparison);
  });
});
