// Numbers to places in a drawing.

/** @typedef {{width: number, height: number, pad?: number}} Box */

/**
 * A number as people read it: 0.037, 2.5, 14.6.
 * @param {number} value
 * @param {number} [digits] that count
 */
export function short(value, digits = 3) {
  return String(Number(value.toPrecision(digits)));
}

/** Seconds as a clock: 2:10, 1:02:05. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/**
 * Where a noise level lies between 0 (none) and 1 (the top), as the eye wants it: levels above 1
 * are pressed together, because most of a picture is made below.
 * @param {number} sigma
 * @param {number} top
 * @param {boolean} flow
 */
export function level(sigma, top, flow) {
  return flow ? sigma / top : Math.log1p(sigma * 4) / Math.log1p(top * 4);
}

/**
 * Points of a falling curve of noise levels in a box, evenly apart.
 * @param {number[]} sigmas
 * @param {number} top
 * @param {boolean} flow
 * @param {Box} box
 * @returns {[number, number][]}
 */
export function sigmaPoints(sigmas, top, flow, { width, height, pad = 4 }) {
  const across = (width - 2 * pad) / Math.max(1, sigmas.length - 1);
  return sigmas.map((sigma, i) =>
    [pad + i * across, pad + (1 - level(sigma, top, flow)) * (height - 2 * pad)]);
}

/**
 * Lowest and highest error that a drawing of a search must hold, with some air.
 * @param {[number, number][]} curve of calls and errors
 * @param {number | null} baseline
 * @returns {[number, number]}
 */
export function errorRange(curve, baseline) {
  const errors = [...curve.map((point) => point[1]), ...(baseline ? [baseline] : [])]
    .filter((error) => error > 0 && Number.isFinite(error));
  if (!errors.length) return [0.01, 1];
  const [low, high] = [Math.min(...errors), Math.min(Math.max(...errors), (baseline ?? 1e9) * 4)];
  return [low * 0.9, Math.max(high, low) * 1.1];
}

/**
 * Height of an error on a logarithmic scale; what lies outside stays at the edge.
 * @param {number} error
 * @param {[number, number]} range
 * @param {Box} box
 */
export function errorHeight(error, [low, high], { height, pad = 4 }) {
  const share = Math.log(Math.max(error, low) / low) / Math.log(high / low);
  return pad + (1 - Math.min(1, share)) * (height - 2 * pad);
}

/**
 * Points of the best error so far as stairs: it holds until the next better one.
 * @param {[number, number][]} curve of calls and errors
 * @param {number} calls up to which the drawing goes
 * @param {[number, number]} range
 * @param {Box} box
 * @returns {[number, number][]}
 */
export function stairs(curve, calls, range, box) {
  const { width, pad = 4 } = box;
  const across = (/** @type {number} */ at) =>
    pad + (Math.min(at, calls) / Math.max(1, calls)) * (width - 2 * pad);
  return curve.flatMap(([at, error], i) => {
    const y = errorHeight(error, range, box);
    const before = i ? [[across(at), errorHeight(curve[i - 1][1], range, box)]] : [];
    return /** @type {[number, number][]} */ ([...before, [across(at), y]]);
  });
}

/** Points as SVG wants them. @param {[number, number][]} points */
export function joined(points) {
  return points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
}

/** How strongly a weight is inked, 0 to 1. @param {number} weight @param {number} largest */
export function ink(weight, largest) {
  return largest > 0 ? Math.sqrt(Math.min(1, Math.abs(weight) / largest)) : 0;
}
