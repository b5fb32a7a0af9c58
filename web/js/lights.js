// How a preset suits what is connected, told before anything runs. Pure: facts in, words out.
import { short } from "./curves.js";
import { gainOf, hereOf } from "./sidebar_words.js";
import { t } from "./words.js";

/** @typedef {"good" | "warn" | "bad" | "unknown"} Tone */
/** @typedef {{name: string, tone: Tone, text: string}} Light */
/** @typedef {{cfg: number | null, steps: number | null}} Sampler */

/**
 * @param {any} card
 * @param {string} checkpoint file name, "" if none is connected
 * @param {any} kin another preset of that checkpoint, or null
 * @param {number | null} cfg of the sampler behind
 * @returns {Light}
 */
function modelLight(card, checkpoint, kin, cfg) {
  const family = kin?.family;
  const light = (/** @type {Tone} */ tone, /** @type {string} */ text) => ({ name: t("Model"), tone, text });
  if (!checkpoint) return light("unknown", t("connect a model to check it"));
  const own = hereOf(card, [checkpoint], cfg);
  const gain = own && gainOf(own).kind;
  if (gain === "worse") return light("bad", t("measured here: a built-in sampler is better"));
  if (card.model === checkpoint) return light("good", t("made for this checkpoint"));
  if (gain === "better") return light("good", t("measured here on this checkpoint: better than the built-in samplers"));
  if (gain) return light("warn", t("measured here on this checkpoint: as near as the best built-in"));
  if (kin && kin.flow !== card.flow) return light("bad", t("made for another kind of noise; it cannot be used here"));
  if (family && card.family === family) return light("warn", t("same family, not measured on this checkpoint"));
  if (family && card.family) return light("bad", t("made for another family ({family})", { family: card.family }));
  if (card.model) return light("warn", t("made for {model}", { model: card.model }));
  return light("unknown", t("made for no model you would load; compare first"));
}

/** @param {any} card @param {Sampler[]} samplers @param {string} checkpoint @returns {Light} */
function cfgLight(card, samplers, checkpoint) {
  const light = (/** @type {Tone} */ tone, /** @type {string} */ text) => ({ name: "CFG", tone, text });
  const good = (card.here ?? []).filter((/** @type {any} */ own) => own.model === checkpoint && gainOf(own).kind === "better")
    .map((/** @type {any} */ own) => own.guidance);
  const found = [...new Set(samplers.map((sampler) => sampler.cfg).filter((cfg) => cfg !== null))];
  const { guidance, guidance_low: low, guidance_high: high } = card;
  const known = typeof guidance === "number";
  const made = known ? t("searched at {cfg}", { cfg: short(guidance) }) : t("searched at an unknown CFG");
  const range = typeof low === "number" ? t(", good from {low} to {high}", { low: short(low), high: short(high) }) : "";
  if (!found.length) return light("unknown", known ? made + range : t("unknown"));
  const here = found.map((cfg) => short(/** @type {number} */ (cfg))).join(t(" and "));
  if (found.every((cfg) => good.includes(cfg))) return light("good", t("{cfg}, measured here", { cfg: here }));
  if (!known) return light("unknown", t("{cfg} here; {made}", { cfg: here, made }));
  const inside = (/** @type {number | null} */ cfg) => cfg !== null && (Math.abs(cfg - guidance) < 1e-6
    || (typeof low === "number" && cfg >= low && cfg <= high));
  if (found.every(inside)) return light("good", `${here}, ${made}${range}`);
  return light(typeof low === "number" ? "bad" : "warn", t("{cfg} here, but {made}", { cfg: here, made: made + range }));
}

/** @param {any} card @param {Sampler[]} samplers @returns {Light} */
function stepsLight(card, samplers) {
  const asked = [...new Set(samplers.map((sampler) => sampler.steps).filter((steps) => steps !== null))];
  const name = t("Steps");
  if (!asked.length) return { name, tone: "unknown", text: t("takes its own {steps}", { steps: card.steps }) };
  if (asked.every((steps) => steps === card.steps)) return { name, tone: "good", text: `${card.steps}` };
  return { name, tone: "warn", text: t("takes its own {steps}, not the {asked} asked for",
    { steps: card.steps, asked: asked.join(t(" and ")) }) };
}

/**
 * Lights of a preset for what is connected.
 * @param {any} card
 * @param {{checkpoint: string, kin: any, samplers: Sampler[]}} here
 * @returns {Light[]}
 */
export function lights(card, { checkpoint, kin, samplers }) {
  const cfg = samplers.find((sampler) => sampler.cfg !== null)?.cfg ?? null;
  return [modelLight(card, checkpoint, kin, cfg), cfgLight(card, samplers, checkpoint), stepsLight(card, samplers)];
}

/** A preset made for a checkpoint, from which its family is known; or null. @param {any[]} cards @param {string} checkpoint */
export function kinOf(cards, checkpoint) {
  return (checkpoint && cards.find((card) => card.model === checkpoint)) || null;
}

const CARRIERS = new Set(["SOLVER", "MODEL", "SAMPLER", "GUIDER"]);

/**
 * What samples behind a node: CFG and steps of each sampler that its outputs lead to.
 * @param {any} start
 * @param {{targetsOf: Function, originOf: Function}} walk
 * @returns {Sampler[]}
 */
export function samplersBehind(start, walk) {
  const [found, seen, open] = [new Set(), new Set(), [start]];
  while (open.length) {
    const node = open.pop();
    if (seen.has(node)) continue;
    seen.add(node);
    if (node !== start && hasInput(node, "latent_image")) found.add(node);
    (node.outputs ?? []).forEach((/** @type {any} */ output, /** @type {number} */ slot) => {
      if (node !== start && !CARRIERS.has(output.type)) return;
      for (const end of walk.targetsOf(node, slot)) open.push(end.node);
    });
  }
  return [...found].map((node) => ({
    cfg: numberOf(node, "cfg", walk) ?? guiderCfg(node, walk), steps: numberOf(node, "steps", walk),
  })).filter((sampler) => sampler.cfg !== null || sampler.steps !== null);
}

/** @param {any} node @param {string} name */
function hasInput(node, name) {
  return node.inputs?.some((/** @type {any} */ input) => input.name === name);
}

/** @param {any} node @param {{originOf: Function}} walk */
function guiderCfg(node, walk) {
  const slot = node.inputs?.findIndex((/** @type {any} */ input) => input.name === "guider") ?? -1;
  const guider = slot < 0 ? null : walk.originOf(node, slot)?.node;
  return guider ? numberOf(guider, "cfg", walk) : null;
}

/** A number of a node: its widget's, or that of the node which feeds it; null if unknown. @param {any} node @param {string} name @param {{originOf: Function}} walk */
function numberOf(node, name, walk) {
  const slot = node.inputs?.findIndex((/** @type {any} */ input) => input.name === name) ?? -1;
  const feeding = slot < 0 ? null : walk.originOf(node, slot)?.node;
  const widgets = feeding ? feeding.widgets?.slice(0, 1) : node.widgets;
  const value = widgets?.find((/** @type {any} */ widget) => feeding || widget.name === name)?.value;
  return typeof value === "number" ? value : null;
}
