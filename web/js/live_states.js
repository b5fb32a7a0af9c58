// Searches that run or ran lately, as the server tells them.
import { ask, clientId, onServerEvent, rootGraph, settingOn } from "./comfy.js";
import { RUNNING } from "./live_words.js";

/** @type {Map<string, any>} newest state by node, the newest search last */
const states = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {any} state */
function take(state) {
  const node = String(state.node);
  if (states.get(node)?.prompt !== state.prompt) states.delete(node);
  states.set(node, state);
}

/** @param {any} state */
function heard(state) {
  if (state?.node === undefined) return;
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
  /**
   * That of a node of the open workflow, by the server's name of the node, or null. One that came
   * without a workflow, from a program, is shown while it runs.
   * @param {string} node
   */
  of(node) {
    const state = states.get(node);
    const here = state?.workflow ? state.workflow === rootGraph()?.id : RUNNING.has(state?.state);
    return here ? state : null;
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
