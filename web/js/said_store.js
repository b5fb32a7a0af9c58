// What nodes said last, kept by the browser: bounded, and read as the untrusted text it is.
import { nodeStore } from "./node_store.js";

const store = nodeStore("SolverSearch.Said", 200);
const LONGEST = 4000;

/** @typedef {{verdict: string, warnings: string[], details: string[], kind?: string}} Said */

/** @param {unknown} value @returns {string[]} */
function lines(value) {
  return (Array.isArray(value) ? value : []).map((line) => String(line).slice(0, LONGEST));
}

/**
 * What a server's event or a stored entry says, or null where it says nothing.
 * @param {any} raw
 * @returns {Said | null}
 */
export function asSaid(raw) {
  const verdict = typeof raw?.verdict === "string" ? raw.verdict.slice(0, LONGEST) : "";
  const said = { verdict, warnings: lines(raw?.warnings), details: lines(raw?.details) };
  if (!verdict && !said.warnings.length && !said.details.length) return null;
  return raw.kind === "good" ? { ...said, kind: "good" } : said;
}

/** How an utterance is meant. @param {Said} said @returns {"warning" | "good" | "plain"} */
export function kindOf(said) {
  if (said.warnings.length) return "warning";
  return said.kind === "good" ? "good" : "plain";
}

/** Keep an utterance under a key; the oldest are forgotten. @param {Storage} storage @param {string} key @param {Said} said */
export const keep = (storage, key, said) => store.keep(storage, key, said);

/** Forget what is kept under a key. @param {Storage} storage @param {string} key */
export const forget = (storage, key) => store.forget(storage, key);

/** What is kept under a key, or null. @param {Storage} storage @param {string} key */
export const kept = (storage, key) => asSaid(store.kept(storage, key));
