// Preset files dropped anywhere on the page: shown before anything is written, then installed.
// What is not ours goes on to ComfyUI as if we had not been here.
import { draggedOver, linkStyle, onSetup, setDraggedOver, settingOn } from "./comfy.js";
import { installDialog } from "./drop_dialog.js";
import { mayBeOurs, presetsIn } from "./preset_file.js";

const LOAD = "SolverSearch_Load";
/** @type {WeakSet<Event>} drops that we have handed on */
const handedOn = new WeakSet();

/**
 * Show what is in files and install what the user wants.
 * @param {File[]} files
 * @param {{asked?: boolean, node?: any}} [options] asked: these files were meant for us, so say it
 *   of those that are no presets; node: the Load Solver Preset node that gets the preset
 * @returns {Promise<File[]>} those in which there is no preset
 */
export async function receive(files, { asked = false, node = null } = {}) {
  const looked = await Promise.all(files.map(async (file) => ({ file, found: mayBeOurs(file) ? await presetsIn(file) : [] })));
  const found = looked.flatMap((each) => each.found);
  const others = looked.filter((each) => !each.found.length).map((each) => each.file);
  if (found.length || asked) installDialog(found, asked ? others : [], node);
  return others;
}

/**
 * The event must be stopped before a file can be read, so it is stopped where a small file may be
 * ours; files that are not are dropped once more on the same place.
 * @param {DragEvent} event
 */
async function onDrop(event) {
  if (handedOn.has(event) || !settingOn("SolverSearch.Drop")) return;
  const files = [...(event.dataTransfer?.files ?? [])];
  const maybe = files.filter(mayBeOurs);
  const place = event.composedPath()[0] ?? document.body;
  if (!maybe.length || inOurTab(place)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const node = draggedOver(place);
  setDraggedOver(null);
  const others = await receive(maybe, { node: node?.comfyClass === LOAD ? node : null });
  const rest = files.filter((file) => !maybe.includes(file) || others.includes(file));
  if (rest.length) dropAgain(rest, event, place, node);
}

/** @param {EventTarget} place the tab answers for itself, also where drops elsewhere are switched off */
function inOurTab(place) {
  return place instanceof Element && place.closest(".solver-search-tab") !== null;
}

/** @param {File[]} files @param {DragEvent} event @param {EventTarget} place @param {any} node */
function dropAgain(files, event, place, node) {
  const dataTransfer = new DataTransfer();
  for (const file of files) dataTransfer.items.add(file);
  const { clientX, clientY, screenX, screenY, ctrlKey, shiftKey, altKey, metaKey } = event;
  const again = new DragEvent("drop", { bubbles: true, cancelable: true, composed: true, dataTransfer,
    clientX, clientY, screenX, screenY, ctrlKey, shiftKey, altKey, metaKey });
  handedOn.add(again);
  setDraggedOver(node);
  place.dispatchEvent(again);
}

onSetup("SolverSearch.Drop", () => {
  linkStyle("sidebar.css");
  document.addEventListener("drop", onDrop, { capture: true });
});
