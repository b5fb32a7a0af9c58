// Searches that run or ran lately, as the server tells them.
import { ask, clientId, onServerEvent, rootGraph, settingOn } from "./comfy.js";
import { RUNNING } from "./live_words.js";

const WHERE = "SolverSearch.Where";

/** @type {Map<string, any>} newest state by node, the newest search last */
const states = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();

/** Workflow in which a search was started, by its prompt. @returns {Record<string, string>} */
function places() {
  try {
    return JSON.parse(sessionStorage.getItem(WHERE) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** Remember that a running search belongs to the open workflow. @param {string} prompt */
function place(prompt) {
  const known = Object.entries(places());
  const here = rootGraph()?.id ?? "";
  const kept = [...known.filter(([other]) => other !== prompt).slice(-31), [prompt, here]];
  sessionStorage.setItem(WHERE, JSON.stringify(Object.fromEntries(kept)));
}

/** @param {any} state */
function take(state) {
  const node = String(state.node);
  if (states.get(node)?.prompt !== state.prompt) states.delete(node);
  states.set(node, state);
}

/** @param {any} state */
function heard(state) {
  if (state?.node === undefined) return;
  const begun = states.get(String(state.node))?.prompt !== state.prompt;
  if (begun && RUNNING.has(state.state) && !(state.prompt in places())) place(state.prompt);
  take(state);
  tell();
}

function tell() {
  for (const listener of listeners) listener();
}

/** Ask for all states, and tell the server that this page shows what nodes say. */
async function hello() {
  const client = settingOn("SolverSearch.Said") ? `?client=${encodeURIComponent(clientId())}` : "";
  const { searches = [] } = await ask(`/live${client}`);
  for (const state of searches) take(state);
  tell();
}

export const searches = {
  /** All that are known, the newest last. @returns {any[]} */
  all: () => [...states.values()],
  /** That of a node of the open workflow, by the server's name of the node, or null. @param {string} node */
  of(node) {
    const state = states.get(node);
    const where = state && places()[state.prompt];
    return state && (!where || where === rootGraph()?.id) ? state : null;
  },
  /** Call `then()` at each change; the answer ends that. @param {() => void} then */
  onChange(then) {
    listeners.add(then);
    return () => listeners.delete(then);
  },
};

let greeted = "";
/** Greet once for each name the server gives this page: at the first connection and after a restart. */
function greet() {
  if (!clientId() || greeted === clientId()) return;
  greeted = clientId();
  hello().catch((error) => console.warn("Solver Search:", error.message));
}
function greetAgain() {
  greeted = "";
  greet();
}

onServerEvent("solver_search.progress", heard);
onServerEvent("status", greet);
onServerEvent("reconnected", greetAgain);
greet();
