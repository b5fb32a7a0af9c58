// What our nodes say, on the node that said it, after the run and after a reload, too.
import {
  domWidget, eachNode, inAppMode, keyOf, linkStyle, nodeById, onExecuted, onServerEvent,
  settingOn, toast,
} from "./comfy.js";
import { el, fill } from "./dom.js";
import { asSaid, forget, keep, kept, kindOf } from "./said_store.js";
import { inPageWords } from "./sentences.js";
import { t } from "./words.js";

const MARKS = { warning: "\u25b2", good: "\u2714", plain: "" };

/** @typedef {import("./said_store.js").Said} Said */

/** @type {WeakMap<object, {element: HTMLElement, widget: {fit: () => void, remove: () => void}}>} */
const boxes = new WeakMap();
/** @type {WeakMap<object, HTMLElement>} */
const hosts = new WeakMap();
/** Node that runs and has not spoken in this run. @type {any} */
let silent = null;
/** Warnings that came as messages in this run. @type {Set<string>} */
const toasted = new Set();

/**
 * An utterance as elements: verdict, warnings, and the rest folded.
 * @param {Said} said
 * @returns {HTMLElement[]}
 */
export function saidParts(said) {
  const kind = kindOf(said);
  const first = said.verdict
    ? [el("p", { class: `verdict ${said.warnings.length ? "plain" : kind}` }, mark(said.warnings.length ? "plain" : kind), inPageWords(said.verdict))]
    : [];
  const warnings = said.warnings.map((line) => el("p", { class: "warning" }, mark("warning"), inPageWords(line)));
  const rest = said.details.length
    ? [el("details", {}, el("summary", {}, t("More")), ...said.details.map((line) => el("p", {}, inPageWords(line))))]
    : [];
  return [...first, ...warnings, ...rest];
}

/** @param {"warning" | "good" | "plain"} kind */
function mark(kind) {
  return MARKS[kind]
    && el("span", { class: "mark", role: "img", "aria-label": kind === "good" ? t("Good:") : t("Warning:") }, MARKS[kind]);
}

/** Let a node's words go into an element that it has already. @param {any} node @param {HTMLElement} element */
export function hostWords(node, element) {
  hosts.set(node, element);
}

/** @param {any} node */
function boxFor(node) {
  const [element, host] = [el("div", { class: "solver-search-said", role: "status" }), hosts.get(node)];
  if (!host) return { element, widget: domWidget(node, "solver_search_said", element, { height: 32 }) };
  host.prepend(element);
  return { element, widget: { fit() {}, remove: () => element.remove() } };
}

/** @param {any} node @param {Said} said */
function show(node, said) {
  const box = boxes.get(node) ?? boxFor(node);
  boxes.set(node, box);
  box.element.classList.remove("old");
  fill(box.element, ...saidParts(said));
  requestAnimationFrame(box.widget.fit);
}

/** @param {any} node */
function clear(node) {
  boxes.get(node)?.widget.remove();
  boxes.delete(node);
  const key = keyOf(node);
  if (key) forget(localStorage, key);
}

/** @param {string} executionId @param {any} raw */
function heard(executionId, raw) {
  const [node, said] = [nodeById(executionId), asSaid(raw)];
  if (!node || !said || !settingOn("SolverSearch.Said")) return;
  if (node === silent) silent = null;
  show(node, said);
  if (inAppMode()) tellInApp(node, said.warnings.filter((line) => !toasted.has(line)));
  const key = keyOf(node);
  if (key) keep(localStorage, key, said);
}

/** Where no node is seen, warnings come as messages; each once in a run. @param {any} node @param {string[]} warnings */
function tellInApp(node, warnings) {
  if (warnings.length) toast("warn", node.title, warnings.map(inPageWords).join("\n"));
  for (const line of warnings) toasted.add(line);
}

/** What a node said in an earlier run fades when it runs, and goes if it says nothing now. @param {string | null} executionId */
function runs(executionId) {
  const node = executionId === null ? null : nodeById(executionId);
  if (executionId === null) toasted.clear();
  if (node === silent) return;
  if (silent && boxes.has(silent)) clear(silent);
  silent = node;
  boxes.get(node)?.element.classList.add("old");
}

linkStyle("cards.css");
eachNode("SolverSearch.Said", null, (node) => {
  const key = keyOf(node);
  const said = key && settingOn("SolverSearch.Said") ? kept(localStorage, key) : null;
  if (said) setTimeout(() => show(node, said)); // a host comes right after
});
/** What the nodes of the prompt that was sent last said before, by the server's name of each. @type {Record<string, any>} */
let echoes = {};
onServerEvent("solver_search.echoes", (detail) => { echoes = detail?.nodes ?? {}; });
onServerEvent("execution_cached", (detail) => {
  for (const node of detail?.nodes ?? [])
    if (echoes[node] && !boxes.has(nodeById(node))) heard(String(node), echoes[node]);
});
onServerEvent("executing", (detail) => runs(detail === null ? null : String(detail?.node ?? detail)));
onServerEvent("solver_search.said", (detail) => heard(detail.node, detail));
onExecuted(({ node, output }) => heard(node, output.solver_search?.[0]));
