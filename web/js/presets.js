// The presets the server has, for everything that shows them. Loading this alone does nothing
// but ask once.
import { ask, onServerEvent } from "./comfy.js";

/** @type {any[]} */
let cards = [];
/** @type {{file: string, error: string}[]} */
let broken = [];
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {Map<string, Promise<any>>} details by file and stamp */
const details = new Map();
/** @type {Promise<void>} the last question; each waits for the one before */
let asked = Promise.resolve();

async function read() {
  const answer = await ask("/presets");
  cards = answer.presets ?? [];
  broken = answer.broken ?? [];
  details.clear();
  answered();
  for (const listener of listeners) listener();
}

/** @type {() => void} */
let answered = () => {};
/** @type {Promise<void>} */
const ready = new Promise((resolve) => { answered = resolve; });

/** @param {string} file */
function about(file) {
  return cards.find((card) => card.file === file) ?? null;
}

/** What the server has of presets; see FORMAT.md for the facts of a card. */
export const presets = {
  /** Kept when the server has answered for the first time. */
  ready,
  /** Every sound preset, own ones first. */
  list: () => cards,
  /** Files that are no sound preset, each with what is wrong. */
  broken: () => broken,
  /** The card of a file, or null. */
  about,
  /** The card of a file with its numbers: sigmas, weights, ordinary schedules. @param {string} file @returns {Promise<any>} */
  detail(file) {
    const card = about(file);
    const key = `${file} ${card?.mtime} ${card?.id}`;
    const known = details.get(key) ?? ask(`/preset?file=${encodeURIComponent(file)}`);
    details.set(key, known);
    known.catch(() => details.delete(key));
    return known;
  },
  /** Call `then()` after each change; the answer ends that. @param {() => void} then */
  onChange(then) {
    listeners.add(then);
    return () => listeners.delete(then);
  },
  /** Ask the server again. @returns {Promise<void>} */
  refresh() {
    asked = asked.then(read, read);
    return asked;
  },
};

const quietly = () => presets.refresh().catch((error) => console.warn("Solver Search:", error.message));

onServerEvent("solver_search.presets", quietly);
quietly();
