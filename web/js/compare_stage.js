// Two pictures of one seed over each other: a slider between them, or all of the left one while held.
import { pictureUrl } from "./comfy.js";
import { button, el } from "./dom.js";
import { nameOf } from "./compare_words.js";
import { t } from "./words.js";

/** @typedef {import("./compare_words.js").Tile} Tile */
/** @typedef {{left: Tile, right: Tile, seed: number, split: number, held: boolean, numbers: number[]}} State split: percent of the left one; numbers: of the seeds with pictures, from 0 */

/** @param {State} state */
export function makeStage(state) {
  const under = /** @type {HTMLImageElement} */ (el("img", { draggable: "false" }));
  const over = /** @type {HTMLImageElement} */ (el("img", { draggable: "false", class: "over" }));
  const edge = el("span", { class: "edge", "aria-hidden": "true" });
  const names = [el("span", { class: "name" }), el("span", { class: "name right" })];
  const element = el("div", { class: "stage" }, under, over, edge, ...names);
  const draw = () => {
    const split = state.held ? 100 : state.split;
    picture(under, state.right, state);
    picture(over, state.left, state);
    over.style.clipPath = `inset(0 ${100 - split}% 0 0)`;
    edge.style.left = `${split}%`;
    names[0].textContent = caption(state.left, state.seed);
    names[1].textContent = state.held ? "" : caption(state.right, state.seed);
  };
  draw();
  dragging(element, (split) => { state.split = split; draw(); });
  return { element, draw };
}

/** What people call a seed: "seed 3". @param {State} state @param {number} at its place among those with pictures */
export function seedName(state, at) {
  return t("seed {number}", { number: (state.numbers[at] ?? at) + 1 });
}

/** @param {HTMLImageElement} image @param {Tile} tile @param {State} state */
function picture(image, tile, state) {
  const entry = tile.images[state.seed];
  image.hidden = !entry;
  if (!entry) return;
  const url = pictureUrl(entry);
  if (image.getAttribute("src") !== url) image.src = url;
  image.alt = `${nameOf(tile)}, ${seedName(state, state.seed)}`;
}

/** @param {Tile} tile @param {number} seed */
function caption(tile, seed) {
  if (tile.kind === "reference") return nameOf(tile);
  const error = tile.errors?.[seed];
  return error === undefined ? nameOf(tile) : t("{name} · error {error}", { name: nameOf(tile), error: error.toFixed(3) });
}

/** Follow a pressed pointer in percent. @param {HTMLElement} element @param {(percent: number) => void} then */
function dragging(element, then) {
  const follow = (/** @type {PointerEvent} */ event) => {
    const box = element.getBoundingClientRect();
    then(Math.round(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * 100));
  };
  element.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    element.setPointerCapture(event.pointerId);
    follow(event);
  });
  element.addEventListener("pointermove", (event) => { if (element.hasPointerCapture(event.pointerId)) follow(event); });
}

/** @param {State} state @param {() => void} draw */
export function slider(state, draw) {
  return el("input", { type: "range", min: 0, max: 100, value: state.split, "aria-label": t("How much of the left picture is seen"),
    oninput: (/** @type {any} */ event) => { state.split = Number(event.target.value); draw(); } });
}

/** By pointer, or by the space bar. @param {State} state @param {() => void} draw */
export function holdButton(state, draw) {
  const hold = (/** @type {boolean} */ held) => () => {
    if (state.held === held) return;
    state.held = held;
    draw();
  };
  const key = (/** @type {() => void} */ then) => (/** @type {KeyboardEvent} */ event) => { if (event.key === " ") then(); };
  return button(t("Hold to flip"), () => {}, { title: t("Shows all of the left picture while it is held"),
    onpointerdown: hold(true), onpointerup: hold(false), onpointerleave: hold(false), onblur: hold(false),
    onkeydown: key(hold(true)), onkeyup: key(hold(false)) });
}

/** @param {Tile[]} shown @param {State} state @param {() => void} draw */
export function choices(shown, state, draw) {
  const one = (/** @type {"left" | "right"} */ side) => el("select", { "aria-label": side === "left" ? t("Left picture") : t("Right picture"),
    onchange: (/** @type {any} */ event) => { state[side] = shown[Number(event.target.value)]; draw(); } },
  ...shown.map((tile, i) => el("option", { value: i, selected: tile === state[side] }, nameOf(tile))));
  return el("div", { class: "choices" }, one("left"), one("right"));
}
