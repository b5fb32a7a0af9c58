// What a search says of itself, in words. Pure.
import { clock, short } from "./curves.js";

export const RUNNING = new Set(["estimating", "searching", "measuring"]);

/** Share of the model calls that are done, 0 to 1. @param {any} state */
export function share(state) {
  if (!RUNNING.has(state.state)) return 1;
  return state.total > 0 ? Math.min(1, Math.max(0, state.calls / state.total)) : 0;
}

/** Time that has passed and is left. @param {any} state */
export function times(state) {
  if (!RUNNING.has(state.state)) return state.seconds > 0 ? `took ${clock(state.seconds)}` : "";
  const left = typeof state.seconds_left === "number" ? `${clock(state.seconds_left)} left` : "";
  return left || (state.seconds > 0 ? `${clock(state.seconds)} so far` : "");
}

/** How the best so far stands to the best built-in setting, or "". @param {any} state */
export function standing(state) {
  const [best, base] = [state.best?.error, state.baseline?.error];
  if (!(best > 0)) return "";
  if (!(base > 0)) return `Error so far ${short(best)}`;
  const gain = Math.round((1 - best / base) * 100);
  if (gain > 0) return `Already ${gain} % closer than the best built-in`;
  return gain < 0 ? `${-gain} % behind the best built-in so far` : "Level with the best built-in so far";
}

/** Words for a search that has ended: its own if they name what was kept. @param {any} state */
export function ending(state) {
  const kept = state.saved || state.name;
  if (state.name && state.sentence?.includes(state.name)) return state.sentence;
  const saved = kept ? `Saved as ${kept}.` : "";
  const words = {
    done: saved || "Done.",
    found: kept ? `Found from an earlier search: ${kept}.` : "Found from an earlier search.",
    stopped: saved ? `Stopped. ${saved}` : "Stopped before anything was found.",
    failed: saved ? `Failed, but the best so far is kept. ${saved}` : "Failed.",
  };
  return words[/** @type {keyof typeof words} */ (state.state)] ?? "";
}

/** What to say before a search: the cost that was told last time, else how one will know. @param {string} last "" if unknown */
export function beforehand(last) {
  return last ? `Last time: ${last}.` : "The cost is told before the search begins.";
}
