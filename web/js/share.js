// The window before a preset is given away: what is in the file, and what shall go along.
import { urlOf } from "./comfy.js";
import { button, el } from "./dom.js";
import { dialogOf } from "./drop_dialog.js";
import { fieldList } from "./fields.js";
import { presets } from "./presets.js";
import { foundHere } from "./sidebar_words.js";
import { t } from "./words.js";

/** @typedef {{part: string, words: string, has: (about: any) => boolean, wanted: boolean}} Part */

/** What may stay at home; ticked at first where it says nothing of a person. @returns {Part[]} */
function parts() {
  return [
    { part: "pictures", words: t("The two small pictures"), wanted: true, has: (about) => about.holds.pictures.length > 0 },
    { part: "notes", words: t("Notes"), wanted: true, has: (about) => Boolean(about.notes) },
    { part: "measured", words: t("What others measured"), wanted: true, has: (about) => Boolean(about.measured) },
    { part: "author", words: t("The author's name"), wanted: false, has: (about) => Boolean(about.author) },
    { part: "workflow", words: t("The workflow with its prompts"), wanted: false, has: (about) => about.holds.workflow },
    { part: "others", words: t("Words that other programs put in"), wanted: false, has: (about) => about.holds.other_words.length > 0 },
    { part: "own", words: t("What I measured on this machine: checkpoint, CFG, errors, date"), wanted: false,
      has: (about) => about.here.length > 0 && !(about.here.length === 1 && foundHere(about)) },
  ];
}

/**
 * Show what is in presets, and give them away.
 * @param {any[]} cards
 * @returns {Promise<void>}
 */
export async function shareDialog(cards) {
  const abouts = await Promise.all(cards.map((card) => presets.detail(card.file)));
  const offered = parts().filter(({ has }) => abouts.some(has));
  const ticked = new Set(offered.filter(({ wanted }) => wanted).map(({ part }) => part));
  const title = cards.length === 1 ? t("Share {name}", { name: cards[0].name }) : t("Share {count} presets", { count: cards.length });
  const link = el("a", { class: "button primary", download: cards.length === 1 ? cards[0].file : "solver presets.zip",
    onclick: () => setTimeout(() => dialog.close()) }, cards.length === 1 ? t("Download") : t("Download as zip"));
  const aim = () => link.setAttribute("href", addressOf(cards, [...ticked]));
  aim();
  const dialog = dialogOf(title,
    el("p", { class: "note" }, t("Nothing is sent anywhere: you download a file to give away. Numbers, checkpoint, settings and the author's figures are always in it.")),
    offered.length > 0 && el("fieldset", { class: "parts" }, el("legend", {}, t("Shall go along")), ...offered.map((each) => tick(each, ticked, aim))),
    ...abouts.map((about, i) => el("details", { open: cards.length === 1 },
      el("summary", {}, cards.length === 1 ? t("What is in this file") : cards[i].name), fieldList(about))),
    el("div", { class: "deeds" }, link, button(t("Cancel"), () => dialog.close())));
  link.focus();
}

/** @param {Part} each @param {Set<string>} ticked @param {() => void} then */
function tick({ part, words }, ticked, then) {
  return el("label", {}, el("input", { type: "checkbox", value: part, checked: ticked.has(part),
    onchange: (/** @type {any} */ event) => { if (event.target.checked) ticked.add(part); else ticked.delete(part); then(); } }), words);
}

/** @param {any[]} cards @param {string[]} ticked */
function addressOf(cards, ticked) {
  const query = new URLSearchParams([...cards.map((card) => ["file", card.file]), ...ticked.map((part) => ["with", part])]);
  return urlOf(`/${cards.length === 1 ? "share" : "export"}?${query}`);
}
