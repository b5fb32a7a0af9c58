// The prompt that measures a preset, made from the open workflow's. Reads and makes data only.
import { clock } from "./curves.js";
import { t } from "./words.js";

export const MEASURE_ID = "solver_search_measure";
const LOAD_ID = "solver_search_measured";
const USE = "SolverSearch_Use";
const TAKEN = /** @type {[string, string[]][]} */ ([
  ["model", ["model"]], ["positive", ["positive"]], ["negative", ["negative"]], ["guider", ["guider"]],
  ["latent", ["latent_image", "latent", "samples"]],
]);

/** @typedef {Record<string, {class_type: string, inputs: Record<string, any>}>} Prompt */

/** Whether a value of a prompt is a link. @param {any} value @returns {value is [string, number]} */
function isLink(value) {
  return Array.isArray(value) && value.length === 2 && typeof value[1] === "number";
}

/** The link behind every Use Solver: a preset is measured on the plain model. @param {Prompt} prompt @param {any} link @returns {any} */
function before(prompt, link) {
  for (let at = link, deep = 0; isLink(at) && deep < 64; deep++) {
    const node = prompt[at[0]];
    if (node?.class_type !== USE) return at;
    at = node.inputs.model;
  }
  return undefined;
}

/**
 * @param {Prompt} prompt the open workflow's
 * @param {string} sampler id of its sampler
 * @param {string} file of the preset
 * @returns {Prompt}
 * @throws {Error} if the sampler lacks what measuring needs
 */
export function measuringPrompt(prompt, sampler, file) {
  const given = prompt[sampler]?.inputs ?? {};
  /** @type {Record<string, any>} */
  const inputs = { solver: [LOAD_ID, 0], seeds: 8, cfg: given.cfg ?? 1 };
  for (const [ours, theirs] of TAKEN) {
    const link = theirs.map((name) => before(prompt, given[name])).find(isLink);
    if (link) inputs[ours] = link;
  }
  if (!inputs.latent || !(inputs.guider || (inputs.model && inputs.positive)))
    throw new Error(t("The sampler needs a model, a prompt and a latent, or a guider, before anything can be measured."));
  /** @type {Prompt} */
  const made = {
    [LOAD_ID]: { class_type: "SolverSearch_Load", inputs: { preset: file, steps: 0, pin: "" } },
    [MEASURE_ID]: { class_type: "SolverSearch_Measure", inputs },
  };
  takeAlong(prompt, inputs, made);
  return made;
}

/** Every node that is needed, with its links around Use Solver. @param {Prompt} prompt @param {Record<string, any>} inputs @param {Prompt} made */
function takeAlong(prompt, inputs, made) {
  for (const [name, value] of Object.entries(inputs)) {
    if (!isLink(value)) continue;
    const link = value[0] in made ? value : before(prompt, value);
    if (!link) throw new Error(t("Connect a model to Use Solver, then measure again."));
    inputs[name] = link;
    if (link[0] in made || !prompt[link[0]]) continue;
    made[link[0]] = { ...prompt[link[0]], inputs: { ...prompt[link[0]].inputs } };
    takeAlong(prompt, made[link[0]].inputs, made);
  }
}

/** Time left as a clock, "" as long as nobody can tell. @param {number} done @param {number} all @param {number} seconds so far */
export function timeLeft(done, all, seconds) {
  return done < 1 || seconds < 2 ? "" : clock((seconds * (all - done)) / done);
}
