// One preset in the Solvers tab.
import { urlOf } from "./comfy.js";
import { button, el } from "./dom.js";
import { presets } from "./presets.js";
import { factsOf, fieldsOf, gainOf, originWords } from "./sidebar_words.js";

/** @typedef {{use: (card: any) => any, compare: (card: any) => any, rename: (card: any, name: string) => Promise<void>,
 *   remove: (card: any) => Promise<void>, select: (file: string, on: boolean) => void, selected: (file: string) => boolean}} Deeds */
/** @typedef {import("./sidebar_actions.js").Answer} Answer */

/**
 * A preset as a list item.
 * @param {{card: any, badge: {fit: string, words: string}}} judged
 * @param {Deeds} deeds
 */
export function cardElement({ card, badge }, deeds) {
  const answer = el("div", { class: "answer", role: "status" });
  const item = el("li", { class: `preset fit-${badge.fit}`, "data-file": card.file, "aria-label": card.name },
    card.pictures && pictures(card), head(card, deeds), origin(card), facts(card), gainBar(card),
    badge.words && el("p", { class: "badge" }, badge.words), buttons(card, deeds, answer), answer);
  return item;
}

/** @param {any} card */
function pictures(card) {
  const one = (/** @type {string} */ which, /** @type {string} */ words) => el("figure", {},
    el("img", { src: urlOf(`/picture?file=${encodeURIComponent(card.file)}&which=${which}&v=${card.id}`),
      alt: `${words}, same seed`, loading: "lazy", draggable: "false",
      onerror: (/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).parentElement?.remove() }),
    el("figcaption", {}, words));
  return el("div", { class: "pair" }, one("preset", `${card.steps} steps`), one("reference", "Reference"));
}

/** @param {any} card @param {Deeds} deeds */
function head(card, deeds) {
  return el("div", { class: "head" },
    el("input", { type: "checkbox", "aria-label": `Select ${card.name}`, checked: deeds.selected(card.file),
      onchange: (/** @type {any} */ event) => deeds.select(card.file, event.target.checked) }),
    el("h3", { title: card.file }, card.name),
    card.state === "unfinished" && el("span", { class: "tag warn", title: "The search was ended before its result was measured." }, "unfinished"),
    !card.own && el("span", { class: "tag", title: "Comes with Solver Search. It cannot be renamed or deleted." }, "library"));
}

/** @param {any} card */
function origin(card) {
  return el("p", { class: "origin", title: originWords(card) }, originWords(card));
}

/** @param {any} card */
function facts(card) {
  return el("p", { class: "facts" }, factsOf(card).join(" · "));
}

/** @param {any} card */
function gainBar(card) {
  const gain = gainOf(card);
  if (gain.kind === "unknown") return el("p", { class: "gain unknown" }, gain.words);
  const width = Math.round(Math.min(1, Math.abs(gain.share)) * 100);
  return el("div", { class: `gain ${gain.kind}`, title: card.promise ?? "" },
    el("div", { class: "bar", "aria-hidden": "true" }, el("span", { style: `width: ${width}%` })),
    el("p", {}, gain.words));
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function buttons(card, deeds, answer) {
  const more = el("div", { class: "more", hidden: true }, ...moreButtons(card, deeds, answer));
  const toggle = button("More", () => {
    more.hidden = !more.hidden;
    toggle.setAttribute("aria-expanded", String(!more.hidden));
  }, { "aria-expanded": "false", "aria-label": `More for ${card.name}` });
  return el("div", { class: "deeds" },
    button("Use here", () => tellAnswer(answer, deeds.use(card)), { class: "primary", "aria-label": `Use ${card.name} here` }),
    button("Compare", () => tellAnswer(answer, deeds.compare(card)), { "aria-label": `Compare ${card.name}` }),
    toggle, more);
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function moreButtons(card, deeds, answer) {
  const file = encodeURIComponent(card.file);
  const all = [
    button("Measure here", () => tellAnswer(answer, measure(card, deeds)), { title: "How near it lands on the model of this workflow" }),
    el("a", { class: "button", href: urlOf(`/share?file=${file}`), download: card.file, title: "Download the file to give it away" }, "Share"),
    button("What is in this file", () => details(card, answer)),
  ];
  if (!card.own) return all;
  return [...all, button("Rename", () => rename(card, deeds, answer)),
    button("Delete", () => attempt(answer, () => deeds.remove(card)), { class: "danger" })];
}

/** @param {any} card @param {Deeds} deeds @returns {Answer} */
function measure(card, deeds) {
  return { words: "Measuring means comparing: the same seeds with this preset, with built-in samplers and with a reference of 100 steps. It can take minutes.",
    offer: { label: "Set up Compare Solvers", act: () => deeds.compare(card) } };
}

/** @param {HTMLElement} place @param {Answer | Promise<Answer>} said */
export async function tellAnswer(place, said) {
  const { words, offer } = await said;
  place.replaceChildren(el("p", {}, words));
  if (offer) place.append(button(offer.label, () => tellAnswer(place, offer.act())));
}

/** @param {HTMLElement} place @param {() => Promise<void>} act */
async function attempt(place, act) {
  try {
    await act();
  } catch (error) {
    place.replaceChildren(el("p", { class: "bad" }, /** @type {Error} */ (error).message));
  }
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function rename(card, deeds, answer) {
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "text", value: card.file.replace(/\.safetensors$/i, ""),
    maxlength: 80, "aria-label": `New file name for ${card.name}` }));
  const close = () => answer.replaceChildren();
  const form = el("form", { class: "rename",
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      attempt(answer, async () => { await deeds.rename(card, input.value.trim()); close(); });
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
    },
  }, input, el("button", { type: "submit", class: "primary" }, "Rename"), button("Cancel", close));
  answer.replaceChildren(form);
  input.focus();
  input.select();
}

/** @param {any} card @param {HTMLElement} answer */
function details(card, answer) {
  if (answer.querySelector("dl")) return answer.replaceChildren();
  answer.replaceChildren(el("p", {}, "Reading the file."));
  return attempt(answer, async () => answer.replaceChildren(fieldList(await presets.detail(card.file)),
    button("Close", () => answer.replaceChildren())));
}

/** Every field of a preset, as text. @param {any} about */
export function fieldList(about) {
  const rows = fieldsOf(about).flatMap(([label, text]) => [el("dt", {}, label), el("dd", {}, text)]);
  return el("dl", { class: "fields" }, ...rows);
}
