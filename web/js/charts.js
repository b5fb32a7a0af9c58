// Small drawings in SVG: noise levels, weights, the error of a search. Text is for those who do
// not see them; colours come from cards.css.
import { errorHeight, errorRange, ink, joined, short, sigmaPoints, stairs } from "./curves.js";
import { el, fill, svg } from "./dom.js";
import { t } from "./words.js";

const BOX = { width: 180, height: 90, pad: 5 };

/** @param {{width: number, height: number}} box @param {string} label @param {...(Node | null)} parts */
function drawing({ width, height }, label, ...parts) {
  return svg("svg", {
    viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label, class: "chart",
  },
    svg("title", {}, label), ...parts);
}

/** @param {[number, number][]} points @param {string} kind @param {string} [label] */
function line(points, kind, label) {
  return svg("polyline", { points: joined(points), class: kind }, label && svg("title", {}, label));
}

/** A point that stays round however the drawing is stretched. @param {[number, number]} at @param {string} [label] */
function dot([x, y], label) {
  return svg("path", { d: `M${x.toFixed(1)} ${y.toFixed(1)}h0`, class: "dot" }, label && svg("title", {}, label));
}

/**
 * Noise levels of a solver, ordinary schedules faint behind them.
 * @param {number[]} sigmas
 * @param {boolean} flow
 * @param {Record<string, number[]>} [ordinary]
 */
export function sigmaChart(sigmas, flow, ordinary = {}) {
  const top = Math.max(sigmas[0], 1e-9);
  const behind = Object.entries(ordinary).filter(([, levels]) => levels?.length > 1);
  const points = sigmaPoints(sigmas, top, flow, BOX);
  const label = t("Noise levels: {levels}.", { levels: sigmas.map((sigma) => short(sigma)).join(", ") })
    + (behind.length ? " " + t("Behind: {names}.", { names: behind.map(([name]) => name).join(", ") }) : "");
  return drawing(BOX, label,
    ...behind.map(([name, levels]) => line(sigmaPoints(levels, top, flow, BOX), "ordinary", name)),
    line(points, "own"),
    ...points.map((point, i) => dot(point, `${i}: sigma ${short(sigmas[i])}`)));
}

/**
 * Weights of each model output at each step, with the value under the pointer or the arrow keys.
 * @param {number[][]} weights lower triangle
 */
export function weightChart(weights) {
  const [count, side] = [weights.length, 90];
  const cell = side / count;
  const largest = Math.max(...weights.flat().map(Math.abs), 1e-9);
  const readout = el("output", { class: "readout", "aria-live": "polite" }, t("Weights by step"));
  const cells = new Map(weights.flatMap((row, i) => row.slice(0, i + 1).map((weight, j) =>
    [`${i} ${j}`, svg("rect", {
      x: j * cell, y: i * cell, width: cell * 0.94, height: cell * 0.94, "data-at": `${i} ${j}`,
      class: weight < 0 ? "negative" : "positive", "fill-opacity": 0.06 + 0.94 * ink(weight, largest),
    })])));
  const chart = drawing({ width: side, height: side }, t("Weights of the model's outputs by step"), ...cells.values());
  let at = [0, 0];
  const point = (/** @type {string} */ key) => {
    for (const [other, rect] of cells) rect.classList.toggle("pointed", other === key);
    at = key.split(" ").map(Number);
    fill(readout, t("Step {step}, output {output}: {weight}",
      { step: at[0] + 1, output: at[1] + 1, weight: short(weights[at[0]][at[1]]) }));
  };
  chart.addEventListener("pointerover", (event) => {
    const key = /** @type {Element} */ (event.target).getAttribute("data-at");
    if (key) point(key);
  });
  chart.setAttribute("tabindex", "0");
  chart.addEventListener("focus", () => point(at.join(" ")));
  chart.addEventListener("keydown", (event) => move(/** @type {KeyboardEvent} */ (event), at, cells, point));
  return el("figure", { class: "weights" }, chart, readout);
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** @param {KeyboardEvent} event @param {number[]} at @param {Map<string, Element>} cells @param {(key: string) => void} point */
function move(event, at, cells, point) {
  const by = MOVES[/** @type {keyof typeof MOVES} */ (event.key)];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const key = `${at[0] + by[0]} ${at[1] + by[1]}`;
  if (cells.has(key)) point(key);
}

/**
 * The best error of a search so far, falling past the dashed line of the best built-in setting.
 * @param {[number, number][]} curve of model calls and errors
 * @param {number | null} baseline
 * @param {number} calls up to which the drawing goes
 */
export function errorChart(curve, baseline, calls) {
  const box = { width: 260, height: 110, pad: 6 };
  const range = errorRange(curve, baseline);
  const last = curve.at(-1);
  const points = stairs(curve, Math.max(calls, last?.[0] ?? 0), range, box);
  const height = baseline ? errorHeight(baseline, range, box) : 0;
  const label = (last ? t("Error so far {error}", { error: short(last[1]) }) : t("No error yet"))
    + (baseline ? t(", best built-in {error}", { error: short(baseline) }) : "") + t(".");
  const end = points.at(-1);
  const chart = drawing(box, label,
    baseline ? svg("line", { x1: box.pad, x2: box.width - box.pad, y1: height, y2: height, class: "baseline" }) : null,
    line(points, "own"),
    end ? dot(end) : null);
  const words = [last && t("error {error}", { error: short(last[1]) }), baseline && t("dashed: best built-in {error}", { error: short(baseline) })];
  return el("figure", {}, chart, el("figcaption", {}, words.filter(Boolean).join(", ")));
}
