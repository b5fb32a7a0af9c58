// How a preset suits what is connected, told before anything runs. Pure: facts in, words out.
import { short } from "./curves.js";

/** @typedef {"good" | "warn" | "bad" | "unknown"} Tone */
/** @typedef {{name: string, tone: Tone, text: string}} Light */
/** @typedef {{cfg: number | null, steps: number | null}} Sampler */

/**
 * @param {any} card
 * @param {string} checkpoint file name, "" if none is connected
 * @param {any} kin another preset of that checkpoint, or null
 * @returns {Light}
 */
function modelLight(card, checkpoint, kin) {
  const family = kin?.family;
  const light = (/** @type {Tone} */ tone, /** @type {string} */ text) => ({ name: "Model", tone, text });
  if (!checkpoint) return light("unknown", "connect a model to check it");
  if (card.model === checkpoint) return light("good", "made for this checkpoint");
  if (kin && kin.flow !== card.flow) return light("bad", "made for another kind of noise; it cannot be used here");
  if (family && card.family === family) return light("warn", "same family, not measured on this checkpoint");
  if (family && card.family) return light("bad", `made for another family (${card.family})`);
  if (card.model) return light("warn", `made for ${card.model}`);
  return light("unknown", "made for no model you would load; compare first");
}

/** @param {any} card @param {Sampler[]} samplers @returns {Light} */
function cfgLight(card, samplers) {
  const light = (/** @type {Tone} */ tone, /** @type {string} */ text) => ({ name: "CFG", tone, text });
  const found = [...new Set(samplers.map((sampler) => sampler.cfg).filter((cfg) => cfg !== null))];
  const { guidance, guidance_low: low, guidance_high: high } = card;
  const known = typeof guidance === "number";
  const made = known ? `searched at ${short(guidance)}` : "searched at an unknown CFG";
  const range = typeof low === "number" ? `, good from ${short(low)} to ${short(high)}` : "";
  if (!found.length) return light("unknown", known ? made + range : "unknown");
  const here = found.map((cfg) => short(/** @type {number} */ (cfg))).join(" and ");
  if (!known) return light("unknown", `${here} here; ${made}`);
  const inside = (/** @type {number | null} */ cfg) => cfg !== null && (Math.abs(cfg - guidance) < 1e-6
    || (typeof low === "number" && cfg >= low && cfg <= high));
  if (found.every(inside)) return light("good", `${here}, ${made}${range}`);
  return light(typeof low === "number" ? "bad" : "warn", `${here} here, but ${made}${range}`);
}

/** @param {any} card @param {Sampler[]} samplers @returns {Light} */
function stepsLight(card, samplers) {
  const asked = [...new Set(samplers.map((sampler) => sampler.steps).filter((steps) => steps !== null))];
  const own = `takes its own ${card.steps}`;
  if (!asked.length) return { name: "Steps", tone: "unknown", text: own };
  if (asked.every((steps) => steps === card.steps)) return { name: "Steps", tone: "good", text: `${card.steps}` };
  return { name: "Steps", tone: "warn", text: `${own}, not the ${asked.join(" and ")} asked for` };
}

/**
 * Lights of a preset for what is connected.
 * @param {any} card
 * @param {{checkpoint: string, kin: any, samplers: Sampler[]}} here
 * @returns {Light[]}
 */
export function lights(card, { checkpoint, kin, samplers }) {
  return [modelLight(card, checkpoint, kin), cfgLight(card, samplers), stepsLight(card, samplers)];
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
