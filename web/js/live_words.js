// What a search says of itself, in words. Pure.
import { clock, short } from "./curves.js";
import { inPageWords } from "./sentences.js";
import { t } from "./words.js";

export const RUNNING = new Set(["estimating", "searching", "measuring"]);

/** Share of the model calls that are done, 0 to 1. @param {any} state */
export function share(state) {
  if (!RUNNING.has(state.state)) return 1;
  return state.total > 0 ? Math.min(1, Math.max(0, state.calls / state.total)) : 0;
}

/** Time that has passed and is left. @param {any} state */
export function times(state) {
  if (!RUNNING.has(state.state)) return state.seconds > 0 ? t("took {time}", { time: clock(state.seconds) }) : "";
  const left = typeof state.seconds_left === "number" ? t("{time} left", { time: clock(state.seconds_left) }) : "";
  return left || (state.seconds > 0 ? t("{time} so far", { time: clock(state.seconds) }) : "");
}

/** How the best so far stands to the best built-in setting, or "". @param {any} state */
export function standing(state) {
  const [best, base] = [state.best?.error, state.baseline?.error];
  if (!(best > 0)) return "";
  if (!(base > 0)) return t("Error so far {error}", { error: short(best) });
  const gain = Math.round((1 - best / base) * 100);
  if (gain > 0) return t("Already {gain} % closer than the best built-in", { gain });
  return gain < 0 ? t("{gain} % behind the best built-in so far", { gain: -gain })
    : t("Level with the best built-in so far");
}

/** What a running search does, without how far it has come: see `standing`. @param {any} state */
export function doing(state) {
  return inPageWords((state.sentence ?? "").replace(/ Already .*/, ""));
}

/** Words for a search that has ended: its own if they name what was kept. @param {any} state */
export function ending(state) {
  const kept = state.saved || state.name;
  if (state.name && state.sentence?.includes(state.name)) return inPageWords(state.sentence);
  const saved = kept ? t("Saved as {name}.", { name: kept }) : "";
  const words = {
    done: saved || t("Done."),
    found: kept ? t("Found from an earlier search: {name}.", { name: kept }) : t("Found from an earlier search."),
    stopped: saved ? `${t("Stopped.")} ${saved}` : t("Stopped before anything was found."),
    failed: saved ? `${t("Failed, but the best so far is kept.")} ${saved}` : t("Failed."),
  };
  return words[/** @type {keyof typeof words} */ (state.state)] ?? "";
}

/** What to say before a search: the cost that was told last time, else how one will know. @param {string} last "" if unknown */
export function beforehand(last) {
  return last ? t("Last time: {cost}.", { cost: last }) : t("The cost is told before the search begins.");
}
