// The window in which presets from outside are looked at before they are installed.
import { ask, openFile, setValue, toast } from "./comfy.js";
import { button, el } from "./dom.js";
import { fieldList } from "./fields.js";
import { presets } from "./presets.js";
import { factsOf, gainOf, originWords } from "./sidebar_words.js";
import { t } from "./words.js";

const AT_ONCE = 4; // files that the server looks at side by side
const SAFE_NAME = /^[A-Za-z0-9 ._-]{1,80}$/;

/** @typedef {import("./preset_file.js").Found} Found */
/** @typedef {{found: Found, about: any, error: string, box: HTMLInputElement, element: HTMLElement}} Row */

/** A window of ours over the page; Escape closes it. @param {string} title @param {...import("./dom.js").Child} children @returns {HTMLDialogElement} */
export function dialogOf(title, ...children) {
  const dialog = /** @type {HTMLDialogElement} */ (el("dialog", { class: "solver-search-dialog", "aria-label": title,
    onclose: () => dialog.remove(),
    onkeydown: (/** @type {Event} */ event) => event.stopPropagation() }, el("h2", {}, title), ...children));
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Show presets and install the chosen ones.
 * @param {Found[]} found
 * @param {File[]} others files that were given as presets and are none
 * @param {any} node Load Solver Preset node that gets the first one, or null
 */
export async function installDialog(found, others, node) {
  const list = el("ul", { class: "found" }, ...others.map(notOurs));
  const state = el("p", { role: "status" }, found.length ? t("Looking at the files.") : "");
  const install = /** @type {HTMLButtonElement} */ (button(t("Install"), () => act(), { class: "primary", disabled: true }));
  const dialog = dialogOf(titleOf(found.length),
    el("p", { class: "note" }, t("A preset is numbers and text; reading it runs nothing. What it promises is its author's word.")),
    list, state, el("div", { class: "deeds" }, install, button(found.length ? t("Cancel") : t("Close"), () => dialog.close())));
  const rows = await inspectAll(found, list);
  const count = () => {
    const chosen = rows.filter((row) => row.box.checked).length;
    install.disabled = !chosen;
    install.textContent = chosen > 1 ? t("Install {count}", { count: chosen }) : t("Install");
  };
  for (const row of rows) row.box.addEventListener("change", count);
  state.textContent = "";
  count();
  const first = install.disabled ? dialog.querySelector(".deeds button:last-child") : install;
  /** @type {HTMLElement | null} */ (first)?.focus();
  const act = async () => {
    install.disabled = true;
    if (await installAll(rows.filter((row) => row.box.checked), state, node)) dialog.close();
  };
}

/** @param {number} count */
function titleOf(count) {
  if (!count) return t("No preset in there");
  return count === 1 ? t("Install this preset?") : t("Install these {count} presets?", { count });
}

/** @param {File} file */
function notOurs(file) {
  return el("li", {}, el("strong", {}, file.name), el("p", { class: "bad" },
    t("There is no preset in this file. Presets are .safetensors files of at most 1 MiB, or a zip of them. A model belongs into another folder.")));
}

/** @param {Found[]} found @param {HTMLElement} list @returns {Promise<Row[]>} */
async function inspectAll(found, list) {
  /** @type {Row[]} */
  const rows = [];
  for (let at = 0; at < found.length; at += AT_ONCE) {
    const some = await Promise.all(found.slice(at, at + AT_ONCE).map(inspect));
    for (const row of some) list.append(row.element);
    rows.push(...some);
  }
  return rows;
}

/** @param {Found} found @returns {Promise<Row>} */
async function inspect(found) {
  try {
    return rowOf(found, await post("/inspect", found.bytes), "");
  } catch (error) {
    return rowOf(found, null, /** @type {Error} */ (error).message);
  }
}

/** @param {string} path @param {Uint8Array} bytes */
function post(path, bytes) {
  return ask(path, { method: "POST", body: /** @type {BodyInit} */ (bytes), headers: { "Content-Type": "application/octet-stream" } });
}

/** @param {Found} found @param {any} about @param {string} error @returns {Row} */
function rowOf(found, about, error) {
  const twin = about && presets.list().find((card) => card.id === about.id);
  const box = /** @type {HTMLInputElement} */ (el("input", { type: "checkbox", disabled: !about, checked: about && !twin,
    "aria-label": t("Install {name}", { name: about?.name ?? found.name }) }));
  const element = el("li", {}, el("label", {}, box, el("strong", {}, about?.name ?? found.name)),
    error ? el("p", { class: "bad" }, error) : el("div", {}, ...said(found, about, twin)));
  return { found, about, error, box, element };
}

/** @param {Found} found @param {any} about @param {any} twin */
function said(found, about, twin) {
  return [
    el("p", {}, `${originWords(about)} · ${factsOf(about).join(" · ")}`),
    el("p", {}, gainOf(about).words + (about.author ? t(", says {author}", { author: about.author }) : "")),
    twin ? el("p", { class: "warn" }, t("You have these numbers already, as {name}.", { name: twin.name })) : "",
    about.state === "unfinished" ? el("p", { class: "warn" }, t("Its search was ended before the result was measured.")) : "",
    el("details", {}, el("summary", {}, t("What is in this file")), fieldList(about)),
    found.header.workflow ? button(t("Open its workflow"), () => openWorkflow(found)) : "",
  ].filter((child) => child !== "");
}

/** @param {Found} found */
function openWorkflow(found) {
  /** @type {HTMLDialogElement | null} */ (document.querySelector("dialog.solver-search-dialog"))?.close();
  openFile(new File([/** @type {BlobPart} */ (found.bytes)], found.name));
}

/** @param {Row[]} rows @param {HTMLElement} state @param {any} node @returns {Promise<boolean>} whether all are in */
async function installAll(rows, state, node) {
  /** @type {string[]} */
  const files = [];
  let refused = 0;
  for (const row of rows) {
    state.textContent = t("Installing {at} of {count}.", { at: files.length + 1, count: rows.length });
    try {
      files.push((await post(`/install${nameQuery(row.found.name)}`, row.found.bytes)).file);
      row.box.checked = false;
      row.box.disabled = true;
    } catch (error) {
      refused++;
      row.element.append(el("p", { class: "bad" }, /** @type {Error} */ (error).message));
    }
  }
  await presets.refresh();
  if (node && files.length) setValue(node, "preset", files[0]);
  state.textContent = refused ? t("{count} installed, {refused} not.", { count: files.length, refused }) : "";
  if (!refused) toast("success", files.length > 1 ? t("{count} presets installed", { count: files.length }) : t("Preset installed"), files.slice(0, 5).join(", "));
  return !refused;
}

/** The file's own name where it can be kept. @param {string} name */
function nameQuery(name) {
  const stem = name.replace(/\.safetensors$/i, "");
  return SAFE_NAME.test(stem) ? `?name=${encodeURIComponent(stem)}` : "";
}
