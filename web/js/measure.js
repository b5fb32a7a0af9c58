// "Measure here": a preset on the model, prompts, CFG and size of the open workflow's sampler, in a
// prompt of its own that leaves the workflow as it is. The figures come with the presets' cards.
import { endPrompt, executionIdOf, onServerEvent, promptOfGraph, runPrompt } from "./comfy.js";
import { button, el, fill } from "./dom.js";
import { measuringPrompt, MEASURE_ID, timeLeft } from "./measure_plan.js";
import { presets } from "./presets.js";
import { t } from "./words.js";

/** @typedef {{id: string, place: HTMLElement, name: string, begun: number}} Measuring */
/** @type {Map<string, Measuring>} by file */
const running = new Map();

/** What is shown of a measurement that runs or has just ended, or null. @param {string} file */
export function measuringOf(file) {
  return running.get(file)?.place ?? null;
}

/** The button stays while the words change, so that no click misses it. @param {Measuring} one @param {string} said */
function show(one, said) {
  const [words] = one.place.children;
  if (words) words.textContent = said;
  else fill(one.place, el("p", {}, said), button(t("Stop"), () => endPrompt(one.id)));
}

/**
 * Measure a preset.
 * @param {any} card
 * @param {any} sampler node of the open workflow that says model, prompts, CFG and size
 * @throws {Error} with a sentence, if it cannot begin
 */
export async function measure(card, sampler) {
  if (running.get(card.file)?.id) return;
  const prompt = measuringPrompt(await promptOfGraph(), executionIdOf(sampler), card.file);
  const place = el("div", { class: "measuring", role: "status" });
  const one = { id: await runPrompt(prompt), place, name: card.name, begun: 0 };
  running.set(card.file, one);
  show(one, t("Waiting for its turn."));
}

/** @param {string} id @returns {[string, Measuring] | undefined} */
function byPrompt(id) {
  return [...running].find(([, one]) => one.id && one.id === id);
}

/** @param {any} detail */
function progress({ prompt_id: id, node, value, max }) {
  const [, one] = byPrompt(id) ?? [];
  if (!one || String(node) !== MEASURE_ID) return;
  one.begun ||= performance.now();
  const left = timeLeft(value, max, (performance.now() - one.begun) / 1000);
  show(one, left
    ? t("Measuring: {value} of {max} model calls, about {left} left.", { value, max, left })
    : t("Measuring: {value} of {max} model calls.", { value, max }));
}

/** @param {string} id @param {string} words in place of the figures, "" if there should be some */
async function ended(id, words) {
  const [file, one] = byPrompt(id) ?? [];
  if (!file || !one) return;
  one.id = "";
  if (!words) await presets.refresh();
  fill(one.place, el("p", {}, words || t("Measured.")), button("×", () => forget(file), { "aria-label": t("Dismiss") }));
}

/** @param {string} file */
function forget(file) {
  running.get(file)?.place.remove();
  running.delete(file);
}

onServerEvent("progress", progress);
onServerEvent("execution_success", ({ prompt_id: id }) => ended(id, ""));
onServerEvent("execution_interrupted", ({ prompt_id: id }) => ended(id, t("Stopped. Nothing was kept.")));
onServerEvent("execution_error", ({ prompt_id: id, exception_message: words }) => ended(id, words ?? t("It failed.")));
