// Everything that a preset's file holds, in words.
import { el } from "./dom.js";
import { t } from "./words.js";

const NOT_IN_FILE = ["file", "own", "pictures", "mtime", "ordinary", "promise", "range", "here", "holds", "bytes"];

/** Fields of a preset as label and text, unknown ones left out; numbers last. @param {any} about @returns {[string, string][]} */
export function fieldsOf(about) {
  const holds = about.holds ?? {};
  const facts = Object.entries({ ...about, model_name: about.model, ...holds.facts, model: "" });
  const said = facts.filter(([name, value]) => !NOT_IN_FILE.includes(name) && known(value));
  const last = ["sigmas", "weights", "start", "beside"];
  said.sort(([a], [b]) => last.indexOf(a) - last.indexOf(b));
  const beside = Object.entries({ pictures_in_it: holds.pictures?.length, workflow: holds.workflow,
    other_words: holds.other_words, version: holds.version });
  return [...said, ...beside.filter(([, value]) => known(value))].map(([name, value]) => [label(name), textOf(value)]);
}

/** @param {unknown} value */
function known(value) {
  if (value === null || value === undefined || value === "" || value === 0 || value === false) return false;
  return typeof value !== "object" || Object.keys(/** @type {object} */ (value)).length > 0;
}

/** Words for the fields of a file. @returns {Record<string, string>} */
function labels() {
  return {
    name: t("Name"), author: t("Author"), created: t("Made on"), licence: t("Licence"), notes: t("Notes"),
    family: t("Family"), model_name: t("Checkpoint"), prediction: t("Prediction"), shift: t("Shift"),
    latent_channels: t("Latent channels"), sigma_min: t("Lowest noise"), sigma_max: t("Highest noise"),
    guidance: t("CFG of the search"), guidance_low: t("Good from CFG"), guidance_high: t("Good to CFG"),
    guidance_measured: t("CFG scales measured"), width: t("Latent width"), height: t("Latent height"),
    frames: t("Latent frames"), denoise: t("Denoise"), prompts: t("Number of prompts"), method: t("Method"),
    teacher: t("Teacher"), trajectories: t("Pictures learned from"), model_calls: t("Model calls of the search"),
    seconds: t("Seconds of the search"), seed: t("Seed of the search"), error: t("Error"),
    error_interval: t("Error, plus or minus"), error_median: t("Error, median"), error_elsewhere: t("Share of other pictures"),
    baseline: t("Best built-in"), baseline_error: t("Its error"), baseline_interval: t("Its error, plus or minus"),
    baseline_median: t("Its median"), baseline_elsewhere: t("Its share of other pictures"),
    difference_interval: t("Difference, plus or minus"), builtin: t("Same as built-in"),
    held_out_seeds: t("Seeds measured on"), held_out_prompts: t("Unseen prompts"), reference: t("Measured against"),
    tool_version: t("Version of Solver Search"), torch_version: t("Version of torch"), state: t("State"),
    search_key: t("Key of the search"), architecture: t("Architecture"), header_hash: t("Hash of the checkpoint"),
    model_bytes: t("Bytes of the checkpoint"), model_hash: t("Hash of the whole checkpoint"),
    precision: t("Precision"), patches: t("Patches"), measured: t("Measured by others"), flow: t("Flow model"),
    steps: t("Steps"), id: t("Id"), version: t("Version of the format"), workflow: t("A workflow"),
    pictures_in_it: t("Pictures"), other_words: t("Foreign words"), sigmas: t("Noise levels"), weights: t("Weights"),
    start: t("Start factors"), beside: t("Further weights"),
  };
}

/** @param {string} name */
function label(name) {
  const words = name.replaceAll("_", " ");
  return labels()[name] ?? words[0].toUpperCase() + words.slice(1);
}

/** @param {any} value @returns {string} */
function textOf(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  if (Array.isArray(value))
    return value.map(textOf).join(value.some(Array.isArray) ? "\n" : ", ");
  if (value && typeof value === "object")
    return Object.entries(value).map(([name, rows]) => `${label(name)}:\n${textOf(rows)}`).join("\n");
  return typeof value === "boolean" ? (value ? t("yes") : t("no")) : String(value);
}

/** Every field of a preset, as text. @param {any} about */
export function fieldList(about) {
  const rows = fieldsOf(about).flatMap(([label, text]) => [el("dt", {}, label), el("dd", {}, text)]);
  return el("dl", { class: "fields" }, ...rows);
}
