// A running search as elements: what happens, how far it is, what it has found. The frame stays
// and only its contents change, so that buttons keep the focus and pictures do not flicker.
import { errorChart, sigmaChart, weightChart } from "./charts.js";
import { tell, toast, urlOf } from "./comfy.js";
import { button, el, fill } from "./dom.js";
import { doing, ending, RUNNING, share, standing, times } from "./live_words.js";
import { t } from "./words.js";

/** @param {"now" | "reference"} which */
const captionOf = (which) => (which === "now" ? t("best so far") : t("many steps"));

/** Picture whose source changes only with its version. @param {"now" | "reference"} which */
function pictureOf(which) {
  const image = el("img", { alt: captionOf(which) });
  const figure = el("figure", { hidden: true }, image, el("figcaption", {}, captionOf(which)));
  return {
    figure,
    /** @param {any} state */
    show(state) {
      const version = state.pictures?.[which] ?? 0;
      figure.hidden = !version;
      const source = urlOf(`/live/picture?node=${encodeURIComponent(state.node)}&which=${which}&v=${version}`
        + `&prompt=${encodeURIComponent(state.prompt ?? "")}`);
      if (version && image.getAttribute("src") !== source) image.setAttribute("src", source);
    },
  };
}

/** Bar that says how far it is. */
function barOf() {
  const inner = el("div", { class: "done" });
  const bar = el("div", { class: "bar", role: "progressbar", "aria-label": t("Search"), "aria-valuemin": 0, "aria-valuemax": 100 }, inner);
  return {
    bar,
    /** @param {any} state */
    show(state) {
      const percent = Math.round(share(state) * 100);
      inner.style.width = `${percent}%`;
      bar.setAttribute("aria-valuenow", String(percent));
      bar.hidden = !RUNNING.has(state.state);
    },
  };
}

/** Stop the search and keep its best. @param {any} state @param {HTMLButtonElement} stop */
async function stopAndKeep(state, stop) {
  stop.disabled = true;
  try {
    await tell("/live/stop", { node: state.node });
    stop.textContent = t("Stopping…");
  } catch (error) {
    stop.disabled = false;
    toast("error", t("Not stopped"), /** @type {Error} */ (error).message);
  }
}

/** Drawings of the best solver, redrawn when it is another one. */
function solverOf() {
  const place = el("div", { class: "drawings" });
  let drawn = "";
  return {
    place,
    /** @param {any} state */
    show(state) {
      const key = JSON.stringify(state.solver ?? null);
      if (key === drawn) return;
      drawn = key;
      const { sigmas, weights } = state.solver ?? {};
      if (sigmas) fill(place, sigmaChart(sigmas, sigmas[0] <= 1), weightChart(weights));
      else fill(place);
    },
  };
}

/**
 * A view of one search.
 * @param {{told?: boolean}} [options] told: what the search has to say at its end stands beside
 * @returns {{element: HTMLElement, show: (state: any) => void}}
 */
export function liveView({ told = false } = {}) {
  const [sentence, numbers, chart] = [el("p", { class: "sentence", role: "status" }), el("p", { class: "faint" }), el("div", { class: "error" })];
  const [bar, solver, now, reference] = [barOf(), solverOf(), pictureOf("now"), pictureOf("reference")];
  /** @type {any} */
  let state = {};
  const stop = /** @type {HTMLButtonElement} */ (button(t("Stop and keep"), () => stopAndKeep(state, stop), {
    title: t("End the search now and use the best solver it has found") }));
  const element = el("div", { class: "live" }, sentence,
    el("div", { class: "going" }, bar.bar, stop), numbers,
    el("div", { class: "facts" }, el("div", { class: "pair" }, now.figure, reference.figure), chart),
    solver.place);
  let prompt = "";
  return {
    element,
    show(newest) {
      state = newest;
      const running = RUNNING.has(state.state);
      if (prompt !== state.prompt) {
        prompt = state.prompt;
        stop.disabled = false;
        stop.textContent = t("Stop and keep");
      }
      const words = running ? doing(state) : ending(state);
      if (sentence.textContent !== words) sentence.textContent = words;
      sentence.hidden = told && !running && !!state.report;
      numbers.textContent = [times(state), running && standing(state), !running && state.sentence !== words ? state.sentence : ""]
        .filter(Boolean).join(" · ");
      bar.show(state);
      now.show(state);
      reference.show(state);
      solver.show(state);
      fill(chart, state.curve?.length > 0 && errorChart(state.curve, state.baseline?.error ?? null,
        running ? state.total : state.curve.at(-1)[0]));
      stop.hidden = !running;
    },
  };
}
