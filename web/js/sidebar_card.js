// One preset in the Solvers tab.
import { urlOf } from "./comfy.js";
import { button, el } from "./dom.js";
import { fieldList } from "./fields.js";
import { measuringOf } from "./measure.js";
import { presets } from "./presets.js";
import { shareDialog } from "./share.js";
import { factsOf, foundHere, gainOf, hereOf, hereWords, measuredWords, originWords, stepWords } from "./sidebar_words.js";
import { t } from "./words.js";

/** @typedef {{use: (card: any) => any, compare: (card: any) => any, measure: (card: any) => any, rename: (card: any, name: string) => Promise<void>,
 *   remove: (card: any) => Promise<void>, select: (file: string, on: boolean) => void, selected: (file: string) => boolean}} Deeds */
/** @typedef {import("./sidebar_actions.js").Answer} Answer */

/**
 * A preset as a list item.
 * @param {{card: any, badge: {fit: string, words: string}}} judged
 * @param {string[]} checkpoints of the open workflow
 * @param {Deeds} deeds
 */
export function cardElement({ card, badge }, checkpoints, deeds) {
  const answer = el("div", { class: "answer", role: "status" });
  return el("li", { class: `preset fit-${badge.fit}`, "data-file": card.file, "aria-label": card.name },
    card.pictures && pictures(card), head(card, deeds), origin(card), facts(card), ...evidence(card, checkpoints),
    badge.words && el("p", { class: "badge" }, badge.words), buttons(card, deeds, answer), measuringOf(card.file), answer);
}

/** @param {any} card */
function pictures(card) {
  const one = (/** @type {string} */ which, /** @type {string} */ words) => el("figure", {},
    el("img", { src: urlOf(`/picture?file=${encodeURIComponent(card.file)}&which=${which}&v=${card.id}`),
      alt: t("{what}, same seed", { what: words }), loading: "lazy", draggable: "false",
      onerror: (/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).parentElement?.remove() }),
    el("figcaption", {}, words));
  return el("div", { class: "pair" }, one("preset", stepWords(card)), one("reference", t("Reference")));
}

/** @param {any} card @param {Deeds} deeds */
function head(card, deeds) {
  return el("div", { class: "head" },
    el("input", { type: "checkbox", "aria-label": t("Select {name}", { name: card.name }), checked: deeds.selected(card.file),
      onchange: (/** @type {any} */ event) => deeds.select(card.file, event.target.checked) }),
    el("h3", { title: card.file }, card.name),
    card.state === "unfinished" && el("span", { class: "tag warn", title: t("The search was ended before its result was measured.") }, t("unfinished")),
    !card.own && el("span", { class: "tag", title: t("Comes with Solver Search. It cannot be renamed or deleted.") }, t("library")));
}

/** @param {any} card */
function origin(card) {
  return el("p", { class: "origin", title: originWords(card) }, originWords(card));
}

/** @param {any} card */
function facts(card) {
  return el("p", { class: "facts" }, factsOf(card).join(" · "));
}

/** What its author says of it, what was measured here, and what others say. @param {any} card @param {string[]} checkpoints */
function evidence(card, checkpoints) {
  const own = hereOf(card, checkpoints) ?? card.here?.[0] ?? null;
  const others = String(card.measured ?? "").split("\n").filter(Boolean);
  return [
    own && gainBar(own, hereWords(own), measuredWords(own)),
    !(own && foundHere(card)) && authorBar(card),
    ...others.slice(0, 3).map((line) => el("p", { class: "gain others" }, t("Somebody else measured: {line}", { line }))),
  ];
}

/** @param {any} card */
function authorBar(card) {
  if (card.error === null || card.error === undefined) return el("p", { class: "gain unknown" }, gainOf(card).words);
  const source = card.own ? t("Author (says the file)") : t("Author");
  return gainBar(card, source, measuredWords(card));
}

/** @param {any} figures @param {string} source who measured it @param {string} more */
function gainBar(figures, source, more) {
  const gain = gainOf(figures);
  const words = el("p", {}, el("span", { class: "source" }, `${source}: `), gain.words);
  if (gain.kind === "unknown") return el("div", { class: "gain unknown", title: more }, words);
  const width = Math.round(Math.min(1, Math.abs(gain.share)) * 100);
  return el("div", { class: `gain ${gain.kind}`, title: more },
    el("div", { class: "bar", "aria-hidden": "true" }, el("span", { style: `width: ${width}%` })), words);
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function buttons(card, deeds, answer) {
  const more = el("div", { class: "more", hidden: true }, ...moreButtons(card, deeds, answer));
  const toggle = button("⋯", () => {
    more.hidden = !more.hidden;
    toggle.setAttribute("aria-expanded", String(!more.hidden));
  }, { "aria-expanded": "false", title: t("More"), "aria-label": t("More for {name}", { name: card.name }) });
  const named = { name: card.name };
  return el("div", { class: "deeds" },
    button(t("Use here"), () => tellAnswer(answer, deeds.use(card)), { class: "primary", "aria-label": t("Use {name} here", named) }),
    button(t("Compare"), () => tellAnswer(answer, deeds.compare(card)), { "aria-label": t("Compare {name}", named) }),
    button(t("Measure"), () => attempt(answer, async () => {
      await tellAnswer(answer, deeds.measure(card));
      answer.before(measuringOf(card.file) ?? "");
    }),
      { title: t("How near it lands on the model, prompts, CFG and size of this workflow. Seconds to minutes; the workflow stays as it is."),
        "aria-label": t("Measure {name} here", named) }),
    toggle, more);
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function moreButtons(card, deeds, answer) {
  const all = [
    button(t("Share"), () => attempt(answer, () => shareDialog([card])), { title: t("See what is in the file, then download it to give it away") }),
    button(t("What is in this file"), () => details(card, answer)),
  ];
  if (!card.own) return all;
  return [...all, button(t("Rename"), () => rename(card, deeds, answer)),
    button(t("Delete"), () => attempt(answer, () => deeds.remove(card)), { class: "danger" })];
}

/** @param {HTMLElement} place @param {Answer | Promise<Answer>} said */
export async function tellAnswer(place, said) {
  const { words, offer } = await said;
  place.replaceChildren(...(words ? [el("p", {}, words)] : []));
  if (offer) place.append(button(offer.label, () => tellAnswer(place, offer.act())));
}

/** @param {HTMLElement} place @param {() => Promise<void>} act */
async function attempt(place, act) {
  try {
    await act();
  } catch (error) {
    place.replaceChildren(el("span", { class: "bad" }, /** @type {Error} */ (error).message));
  }
}

/** @param {any} card @param {Deeds} deeds @param {HTMLElement} answer */
function rename(card, deeds, answer) {
  const input = /** @type {HTMLInputElement} */ (el("input", { type: "text", value: card.file.replace(/\.safetensors$/i, ""),
    maxlength: 80, "aria-label": t("New file name for {name}", { name: card.name }) }));
  const close = () => answer.replaceChildren();
  const refused = el("p", { class: "bad" });
  const form = el("form", { class: "rename",
    onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      attempt(refused, async () => { await deeds.rename(card, input.value.trim()); close(); });
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
    },
  }, input, el("button", { type: "submit", class: "primary" }, t("Rename")), button(t("Cancel"), close));
  answer.replaceChildren(form, refused);
  input.focus();
  input.select();
}

/** @param {any} card @param {HTMLElement} answer */
function details(card, answer) {
  if (answer.querySelector("dl")) return answer.replaceChildren();
  answer.replaceChildren(el("p", {}, t("Reading the file.")));
  return attempt(answer, async () => answer.replaceChildren(fieldList(await presets.detail(card.file)), ...ownFigures(card),
    button(t("Close"), () => answer.replaceChildren())));
}

/** What is known here and stands in no file. @param {any} card */
function ownFigures(card) {
  if (!card.here?.length) return [];
  return [el("h4", {}, t("Measured on this machine, not in the file")),
    ...card.here.map((/** @type {any} */ own) => el("p", {}, `${hereWords(own)}: ${gainOf(own).words} · ${measuredWords(own)}`))];
}
