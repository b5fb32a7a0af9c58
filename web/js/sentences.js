// What nodes say, in the page's language. The server speaks English; a sentence that is known here
// is said in the page's words with its values put in, any other stays as it is. Pure.
import { t } from "./words.js";

const LONGEST = 300; // characters of a value
const END = /^.*?[.!?:](?:\s+|$)/s; // of a sentence that is not known

/** @typedef {{english: string, names: string[], pattern: RegExp}} Sentence */

/**
 * A sentence of the server's, to be known again.
 * @param {string} english with {name} for each value
 * @returns {Sentence}
 */
function sentence(english) {
  /** @type {string[]} */
  const names = [];
  const source = english.replace(/[.*+?^$()[\]|\\]/g, "\\$&").replace(/\{(\w+)\}/g, (_, name) => {
    names.push(name);
    return `(.{1,${LONGEST}}?)`;
  });
  return { english, names, pattern: new RegExp(`^${source}(\\s+|$)`) };
}

const KNOWN = [
  // How a preset suits a model (nodes/matching.py)
  sentence("Made for this checkpoint."),
  sentence("Made for the same family ({family}), not measured on this checkpoint."),
  sentence("Made for another family ({family}); it may be no better than a built-in sampler here."),
  sentence("Compare before you rely on it."),
  sentence("Not usable with this model: its noise schedule is another one."),
  sentence("Measured on this checkpoint, on this machine: error {percent} lower than the best built-in sampler."),
  sentence("Measured on this checkpoint, on this machine: as near as the best built-in sampler."),
  sentence("Measured on this checkpoint, on this machine: the best built-in sampler is better, by {percent}."),
  sentence("Take that instead."),
  sentence("For image to image at denoise {denoise} and below."),
  sentence("This preset is unfinished: its search was stopped before anything was measured."),
  sentence("Search again, or compare it."),
  sentence("It was searched at shift {searched}, this model has {found}; the solver brings its own steps, so that is no harm."),
  // Where there is no preset (nodes/unsearched.py)
  sentence("Nobody has searched for this model."),
  sentence("This table suits such models in general and was made without a search."),
  sentence("On a small eps model its error was 0.98 to 1.19 times that of the best built-in sampler and scheduler at 5 and 6 steps, and 1.28 (CFG 3) and 1.86 times (CFG 1) at 10 steps, on 64 seeds."),
  sentence("This is the ordinary euler with beta steps at the model's own shift, which a KSampler has, too."),
  sentence("A search gives more: use Search Solver."),
  // Load Solver Preset and Solver Sampler (nodes/preset_nodes.py, nodes/use.py)
  sentence("Took '{name}'."),
  sentence("The preset this workflow was pinned to is not there or does not fit any more; another one was taken."),
  sentence("This preset has changed since the workflow was made: its id was {before}, now it is {after}."),
  sentence("Pictures will differ."),
  sentence("Pick it again to accept it."),
  sentence("Kept because the workflow is pinned to it."),
  sentence("{name} ({steps} steps, id {id})"),
  sentence("{steps} steps of '{name}'."),
  // At which CFG, and what the author measured (presets/words.py)
  sentence("Better than the built-in samplers from CFG {low} to {high}, as measured."),
  sentence("Better than the built-in samplers at CFG {cfg} only, as measured."),
  sentence("Not better than the built-in samplers at any CFG that was measured."),
  sentence("Unknown away from CFG {cfg}."),
  sentence("This is CFG {cfg}, where a built-in sampler may be better: compare, or search at your CFG."),
  sentence("Not measured on this model."),
  sentence("Error {error} against {other} for the best built-in ({name}) at {calls} model calls, measured on {seeds} unseen seeds by the author."),
  sentence("Error {error} against {other} for the best built-in ({name}) at {calls} model calls, measured on {seeds} unseen seeds by the author; the two are too close to call."),
  sentence("Error {error} against {other} for the best built-in ({name}) at {calls} model calls, measured on {seeds} unseen seeds by the author; the built-in is better."),
  // A sampler with a solver (nodes/comfy_bridge/remarks.py)
  sentence("'{name}' samples."),
  sentence("'{name}' samples instead of {sampler} ({noisy} adds noise, the solver adds none)."),
  sentence("'{name}' samples instead of {sampler}."),
  sentence("'{name}' samples inside {place} instead of {sampler}."),
  sentence("This solver takes its own {steps} steps; the {asked} asked for are not used."),
  sentence("Steps {first} to {last} of the solver's {own}."),
  sentence("All {own} steps of the solver are laid into sigma {first} to {last}."),
  sentence("At so low a denoise a preset searched for it does better: Search Solver's denoise."),
  sentence("The result is far larger than a picture can be, so it will look broken: this preset does not fit this model, CFG or size."),
  sentence("Take another preset, or a built-in sampler."),
  // A search (nodes/telling.py, nodes/report.py)
  sentence("Loading the model and timing it."),
  sentence("Painting pictures slowly, to learn from them."),
  sentence("Trying the samplers you know."),
  sentence("Fitting {steps} steps to your model."),
  sentence("Refining {steps} steps."),
  sentence("Learning {steps} steps."),
  sentence("Measuring the result on pictures it has never seen."),
  sentence("Measuring the result at other CFG values."),
  sentence("Saved as '{name}': error {percent} lower than the best built-in ({other}) on {seeds} unseen seeds."),
  sentence("Saved as '{name}': error {percent} higher than the best built-in ({other}) on {seeds} unseen seeds."),
  sentence("Saved as '{name}': as good as the best built-in ({other}), too close to call on {seeds} unseen seeds."),
  sentence("Saved as '{name}': the search found nothing better than {other}, so that is what it holds (on {seeds} unseen seeds)."),
  sentence("Saved as '{name}', not measured."),
  sentence("Stopped by you after {done} of {total} model calls."),
  sentence("The search broke off; the best until then is there."),
  sentence("Found, searched on {date}: {names}."),
  sentence("Turn on 'search again' to search anew."),
  // Save Solver Preset and Compare Solvers (nodes/preset_nodes.py, nodes/compared.py)
  sentence("Nothing to do: this preset is already saved under this name."),
  sentence("Saved as {file} in the folder {folder}."),
  sentence("The checkpoint '{name}' that it was searched for is not here, so its hash is not in the file."),
  sentence("Give this file to others to share it."),
  sentence("Too close to call: '{name}' lands {percent} closer to the reference than the best built-in ({other}), which may be chance."),
  sentence("Too close to call: the best built-in ({other}) lands {percent} closer to the reference than '{name}', which may be chance."),
  sentence("More seeds tell."),
  sentence("'{name}' lands {percent} closer to the reference than the best built-in ({other}) at {calls} model calls."),
  sentence("The best built-in ({other}) lands {percent} closer to the reference than '{name}' at {calls} model calls."),
];

/** One known sentence at the beginning of a text and how much of the text it is, or null. @param {string} text */
function known(text) {
  for (const { english, names, pattern } of KNOWN) {
    const found = pattern.exec(text);
    if (!found) continue;
    const values = Object.fromEntries(names.map((name, i) => [name, found[i + 1]]));
    return { words: t(english, values), gap: found[names.length + 1], length: found[0].length };
  }
  return null;
}

/** What a node says, in the page's language as far as its sentences are known. @param {string} said */
export function inPageWords(said) {
  let [told, rest] = ["", said];
  while (rest) {
    const found = known(rest);
    const foreign = found ? "" : (END.exec(rest)?.[0] ?? rest);
    told += found ? found.words + found.gap : foreign;
    rest = rest.slice(found?.length ?? foreign.length);
  }
  return told;
}
