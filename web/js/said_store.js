// What nodes said last, kept by the browser: bounded, and read as the untrusted text it is.

const KEY = "SolverSearch.Said";
const MOST = 200;
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

/** @param {Storage} storage @returns {[string, any][]} oldest first */
function entries(storage) {
  try {
    const found = JSON.parse(storage.getItem(KEY) ?? "[]");
    const pairs = Array.isArray(found) ? found.filter((pair) => Array.isArray(pair)) : [];
    return /** @type {[string, any][]} */ (pairs.slice(-MOST));
  } catch {
    return [];
  }
}

/** @param {Storage} storage @param {[string, any][]} kept */
function write(storage, kept) {
  try {
    storage.setItem(KEY, JSON.stringify(kept));
  } catch {
    storage.removeItem(KEY); // the browser's room is used up
  }
}

/** Keep an utterance under a key; the oldest are forgotten. @param {Storage} storage @param {string} key @param {Said} said */
export function keep(storage, key, said) {
  const others = entries(storage).filter(([other]) => other !== key);
  write(storage, [...others.slice(1 - MOST), [key, said]]);
}

/** Forget what is kept under a key. @param {Storage} storage @param {string} key */
export function forget(storage, key) {
  const all = entries(storage);
  if (all.some(([other]) => other === key)) write(storage, all.filter(([other]) => other !== key));
}

/** What is kept under a key, or null. @param {Storage} storage @param {string} key */
export function kept(storage, key) {
  const found = entries(storage).find(([other]) => other === key);
  return found ? asSaid(found[1]) : null;
}
