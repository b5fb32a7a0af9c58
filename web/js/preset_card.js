// The card in Load Solver Preset: pictures, lights, curve and weights of the preset, before
// anything runs; and the place where preset files may be dropped.
import { sigmaChart, weightChart } from "./charts.js";
import {
  ask, domWidget, dropTarget, eachNode, linkStyle, nodeById, onConnections, onExecuted, onValue,
  originOf, setValue, settingOn, sourceOf, targetsOf, toast, urlOf, watch, widgetOf,
} from "./comfy.js";
import { button, el, fill } from "./dom.js";
import { kinOf, lights, samplersBehind } from "./lights.js";
import { checkpointOf } from "./order.js";
import { NODE } from "./picker.js";
import { presets } from "./presets.js";
import { cfgRangeWords, foundHere, gainOf, hereOf, hereWords, measuredWords, stepWords } from "./sidebar_words.js";
import { t } from "./words.js";

const TONES = { good: "\u25cf", warn: "\u25b2", bad: "\u2716", unknown: "\u25cb" };

/** @param {import("./lights.js").Tone} tone */
const toneWords = (tone) => ({ good: t("fits"), warn: t("careful"), bad: t("does not fit"), unknown: t("unknown") })[tone];

/** @param {string} id */
const byId = (id) => (id ? presets.list().find((card) => card.id === id) : null) ?? null;

/** What bears on a node's lights. @param {any} node */
function situation(node) {
  const checkpoint = checkpointOf(node, sourceOf);
  return {
    checkpoint,
    kin: kinOf(presets.list(), checkpoint),
    samplers: samplersBehind(node, { originOf, targetsOf }),
  };
}

/** @param {import("./lights.js").Light} light */
function lightRow({ name, tone, text }) {
  return el("li", { class: tone },
    el("span", { class: "tone", role: "img", "aria-label": toneWords(tone) }, TONES[tone]),
    el("b", {}, name), " ", text);
}

/** @param {any} card */
function pair(card) {
  if (!card.pictures) return null;
  const source = (/** @type {string} */ which) =>
    urlOf(`/picture?file=${encodeURIComponent(card.file)}&which=${which}&v=${card.mtime}`);
  const picture = (/** @type {string} */ which, /** @type {string} */ caption) => el("figure", {},
    el("img", { src: source(which), alt: t("{caption} of {name}", { caption, name: card.name }), loading: "lazy" }),
    el("figcaption", {}, caption));
  return el("div", { class: "pair" }, picture("preset", stepWords(card)), picture("reference", t("Reference")));
}

/** Words that come before the card of the automatic entry or of a preset with other numbers. @param {any} node @param {string} file */
function notice(node, file) {
  const [pin, own] = [widgetOf(node, "pin"), presets.about(file)];
  const again = (/** @type {string} */ id) => () => {
    setValue(node, "pin", id);
    render(node);
  };
  if (own && pin?.value && pin.value !== own.id)
    return el("p", { class: "notice" }, t("This preset has other numbers than when the workflow was made."), " ",
      button(t("Accept"), again(own.id), { title: t("Use the numbers it has now") }));
  if (own) return null;
  if (!pin?.value) return el("p", { class: "faint" }, t("Takes the preset that suits your model best, and remembers it here."));
  const taken = byId(pin.value);
  return el("p", { class: "faint" }, taken ? t("Taken and kept: ") : t("The preset it took is no longer here."),
    taken && el("b", {}, taken.name), " ",
    button(t("Choose anew"), again(""), { title: t("Look for the best one again at the next run") }));
}

/** What was measured here, and what its author says. @param {any} card @param {any} here */
function evidence(card, { checkpoint, samplers }) {
  const own = hereOf(card, [checkpoint], samplers[0]?.cfg ?? null);
  const line = (/** @type {string} */ source, /** @type {any} */ figures) =>
    el("p", { title: measuredWords(figures) }, el("span", { class: "faint" }, `${source}: `), gainOf(figures).words);
  const range = cfgRangeWords(card);
  return [own && line(hereWords(own), own),
    !(own && foundHere(card)) && line(card.own ? t("Author (says the file)") : t("Author"), card),
    range && el("p", { class: "faint" }, range)];
}

/** @param {any} card */
function drawings(card) {
  const place = el("div", { class: "drawings" });
  presets.detail(card.file).then((detail) => fill(place,
    sigmaChart(detail.sigmas, card.flow, detail.ordinary), weightChart(detail.weights)), () => place.remove());
  return place;
}

/** @type {WeakMap<object, {element: HTMLElement, drawn: {key: string, element: HTMLElement | null}}>} */
const shown = new WeakMap();

/** The drawings of a card; those on the screen are kept, so that pointing at them is not disturbed. @param {any} held @param {any} card */
function drawingsOf(held, card) {
  const key = `${card.file} ${card.id}`;
  if (held.drawn.key !== key) held.drawn = { key, element: drawings(card) };
  return held.drawn.element;
}

/** @param {any} node */
function render(node) {
  const held = shown.get(node);
  const file = widgetOf(node, "preset")?.value;
  if (!held || !node.graph) return;
  const card = presets.about(file) ?? byId(widgetOf(node, "pin")?.value);
  fill(held.element, notice(node, file), card && el("div", { class: "facts" },
    pair(card),
    el("div", { class: "suits" },
      card.state === "unfinished"
        && el("p", { class: "notice" }, t("Unfinished: its search was stopped before it was measured.")),
      el("ul", { class: "lights", "aria-label": t("How it suits this workflow") },
        ...lights(card, situation(node)).map(lightRow)))),
  ...(card ? evidence(card, situation(node)) : []),
  card && drawingsOf(held, card));
}

/** @param {any} node @param {File} file */
async function install(node, file) {
  try {
    const name = encodeURIComponent(file.name.replace(/\.safetensors$/i, ""));
    const { file: installed } = await ask(`/install?name=${name}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    await presets.refresh();
    setValue(node, "preset", installed);
    toast("success", t("Preset installed"), installed);
  } catch (error) {
    toast("error", t("Not installed"), /** @type {Error} */ (error).message);
  }
}

/** The automatic entry remembers what it took. @param {{node: string, output: any}} ran */
function remember({ node: executionId, output }) {
  const [node, id] = [nodeById(executionId), output.solver_search?.[0]?.id];
  if (node?.comfyClass !== NODE || typeof id !== "string") return;
  const pin = widgetOf(node, "pin");
  if (pin && !presets.about(widgetOf(node, "preset")?.value)) setValue(node, "pin", id);
  render(node);
}

linkStyle("cards.css");
onExecuted(remember);
eachNode("SolverSearch.Card", NODE, (node) => {
  const preset = widgetOf(node, "preset");
  if (!preset) return;
  dropTarget(node, (file) => /\.safetensors$/i.test(file.name), (file) => install(node, file));
  if (!settingOn("SolverSearch.Cards")) return;
  const element = el("div", { class: "solver-search-card", "aria-label": t("About this preset") });
  shown.set(node, { element, drawn: { key: "", element: null } });
  domWidget(node, "solver_search_card", element, { height: 40 });
  const again = () => render(node);
  onValue(preset, again);
  onConnections(node, again);
  const stop = presets.onChange(again);
  watch(() => JSON.stringify([preset.value, widgetOf(node, "pin")?.value, situation(node)]), again, () => {
    if (!node.graph) stop();
    return Boolean(node.graph);
  });
  again();
});
