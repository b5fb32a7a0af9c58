// Every call of ComfyUI's front end, in one place.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { graphsOf, nodeAt, nodesOf } from "./links.js";

/**
 * Call `onNode(node)` once for each node of a class, new or loaded, in any subgraph, as soon as it
 * is in a graph and has its values.
 * @param {string} name of the extension
 * @param {string | null} nodeClass null: nodes of every class
 * @param {(node: any) => void} onNode
 */
export function eachNode(name, nodeClass, onNode) {
  const nodeCreated = (/** @type {any} */ node) => {
    if (nodeClass === null || node.comfyClass === nodeClass) afterAdd(node, onNode);
  };
  app.registerExtension({ name, nodeCreated });
}

/** Call `onChange()` after any of a node's connections changed. */
export function onConnections(node, onChange) {
  const before = node.onConnectionsChange;
  node.onConnectionsChange = function (...args) {
    const result = before?.apply(this, args);
    onChange();
    return result;
  };
}

/** The widget of a name, or undefined. */
export function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/** Call `onChange(value)` after the user chose another value of a widget. */
export function onValue(widget, onChange) {
  const before = widget.callback;
  widget.callback = function (value, ...rest) {
    const result = before?.call(this, value, ...rest);
    onChange(value);
    return result;
  };
}

export { executionIdOf, originOf, sourceOf, targetsOf } from "./links.js";

/** A switch on ComfyUI's settings page; the server reads it from the settings file. */
export function addSwitch(name, setting) {
  app.registerExtension({ name, settings: [{ type: "boolean", defaultValue: false, ...setting }] });
}

// --- The page and the server ---

/** ComfyUI's `app`, for what has no function here yet. */
export { app, api };

/**
 * Register an extension of ours.
 * @param {Record<string, any>} extension as app.registerExtension takes it
 */
export function register(extension) {
  app.registerExtension(extension);
}

/**
 * Call `onEvent(detail)` for each event of the server with this name.
 * @param {string} name
 * @param {(detail: any) => void} onEvent
 */
export function onServerEvent(name, onEvent) {
  api.addEventListener(name, (/** @type {any} */ event) => onEvent(event.detail));
}

/**
 * Answer of one of our routes, as JSON.
 * @param {string} path below /solver_search
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 * @throws {Error} with the server's sentence
 */
export async function ask(path, options = {}) {
  const headers = { "X-Solver-Search": "1", ...options.headers };
  const answer = await api.fetchApi(`/solver_search${path}`, { ...options, headers });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `The server answered ${answer.status}.`);
  return body;
}

/**
 * Send JSON to one of our routes.
 * @param {string} path
 * @param {unknown} body
 */
export function tell(path, body) {
  return ask(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  });
}

/** Address of something our routes serve, for src and href. @param {string} path */
export function urlOf(path) {
  return api.apiURL(`/solver_search${path}`);
}

/** Load a style sheet of web/css once. @param {string} name */
export function linkStyle(name) {
  const href = new URL(`../css/${name}`, import.meta.url).href;
  if (document.head.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}

/** A switch of ours; on where ComfyUI does not know it yet. @param {string} id */
export function settingOn(id) {
  return app.extensionManager?.setting?.get(id) ?? true;
}

/**
 * A short message in the corner of the page.
 * @param {"success" | "info" | "warn" | "error"} severity
 * @param {string} summary
 * @param {string} [detail]
 */
export function toast(severity, summary, detail = "") {
  app.extensionManager?.toast?.add({ severity, summary, detail, life: severity === "warn" ? 30_000 : 6000 });
}

// --- cards ---

/** The outer graph of the open workflow, or undefined. */
export function rootGraph() {
  return /** @type {any} */ (app).rootGraph ?? app.graph;
}

/** Call `onNode(node)` for every node of the open workflow, those in subgraphs too. @param {(node: any) => void} onNode */
export function allNodes(onNode) {
  graphsOf(rootGraph()).flatMap(nodesOf).forEach(onNode);
}

/** The node that the server calls by this id, such as "3" or "5:3", or null. @param {string | number} executionId */
export function nodeById(executionId) {
  return nodeAt(rootGraph(), executionId);
}

/**
 * Call `then(node)` once, when the node is in a graph and has its values and links.
 *
 * ComfyUI tells of a new node before it is in a graph; a loaded one gets its values right after.
 * @param {any} node
 * @param {(node: any) => void} then
 */
export function afterAdd(node, then) {
  let done = false;
  const soon = () => queueMicrotask(() => {
    if (done || node.graph?.getNodeById(node.id) !== node) return; // gone again: a cleared graph
    done = true;
    then(node);
  });
  const before = node.onAdded;
  node.onAdded = function (/** @type {any[]} */ ...args) {
    const result = before?.apply(this, args);
    soon();
    return result;
  };
  if (node.graph) soon();
}

/** Call `then()` when a node leaves its graph. @param {any} node @param {() => void} then */
export function onRemoved(node, then) {
  const before = node.onRemoved;
  node.onRemoved = function (/** @type {any[]} */ ...args) {
    then();
    return before?.apply(this, args);
  };
}

/**
 * Call `then({node, output, prompt})` for each node that has run and handed out something to show.
 * @param {(ran: {node: string, output: any, prompt: string}) => void} then
 */
export function onExecuted(then) {
  onServerEvent("executed", (detail) => then({
    node: String(detail.display_node ?? detail.node),
    output: detail.output ?? {},
    prompt: detail.prompt_id ?? "",
  }));
}

/**
 * Further lines of a node's menu.
 * @param {string} name of the extension
 * @param {(node: any) => ({content: string, callback: () => void} | null)[]} itemsFor
 */
export function menuItems(name, itemsFor) {
  register({ name, getNodeMenuItems: (/** @type {any} */ node) => itemsFor(node) });
}

const TALLEST = 560; // pixels of a node that one element of ours may claim

/**
 * An element of ours inside a node; in no file and no prompt.
 *
 * The node grows when the element does, up to a limit; beyond it the element scrolls.
 * @param {any} node
 * @param {string} name
 * @param {HTMLElement} element
 * @param {{height?: number}} [options] height: the least it has, in pixels
 * @returns {{fit: () => void, remove: () => void}}
 */
export function domWidget(node, name, element, { height = 24 } = {}) {
  const frame = document.createElement("div");
  frame.className = "solver-search-frame";
  frame.append(element);
  let wanted = height;
  const widget = node.addDOMWidget(name, "solver-search", frame, {
    serialize: false, hideOnZoom: false, margin: 4,
    getMinHeight: () => Math.min(wanted, TALLEST) + 8,
    getMaxHeight: () => wanted + 8,
  });
  widget.serialize = false;
  const fit = () => {
    const grown = Math.max(height, element.offsetHeight) - wanted;
    if (grown === 0 || !element.offsetHeight || !node.graph) return;
    wanted += grown;
    const [snug, was] = [node.computeSize()[1], node.size[1]];
    if (was < snug || (grown < 0 && was <= snug - grown + 1)) node.setSize([node.size[0], snug]);
    node.setDirtyCanvas?.(true, true);
  };
  const watch = new ResizeObserver(() => requestAnimationFrame(fit));
  watch.observe(element);
  const remove = () => {
    watch.disconnect();
    if (node.widgets?.includes(widget)) node.removeWidget(widget);
    node.setSize([node.size[0], Math.max(node.computeSize()[1], node.size[1] - wanted - 8)]);
  };
  onRemoved(node, () => watch.disconnect());
  return { fit, remove };
}

/** Let a node grow to what ComfyUI puts below our elements some time after a run, such as a picture. @param {any} node */
export function growLater(node) {
  const grow = () => {
    const high = node.computeSize()[1];
    if (node.graph && node.size[1] < high) node.setSize([node.size[0], high]);
  };
  for (const wait of [300, 1000, 3000]) setTimeout(grow, wait);
}

/**
 * Let files be dropped on a node; ComfyUI's own answer to a file is then left out.
 * @param {any} node
 * @param {(file: File) => boolean} wanted
 * @param {(file: File) => Promise<void>} onFile
 */
export function dropTarget(node, wanted, onFile) {
  const [over, drop] = [node.onDragOver, node.onDragDrop];
  node.onDragOver = function (/** @type {DragEvent} */ event) {
    const files = [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
    return files || (over?.call(this, event) ?? false);
  };
  node.onDragDrop = async function (/** @type {DragEvent} */ event) {
    const file = [...(event.dataTransfer?.files ?? [])].find(wanted);
    if (!file) return (await drop?.call(this, event)) ?? false;
    await onFile(file);
    return true;
  };
}

/**
 * Call `then()` when something in the workflow has changed that may bear on a node: at most
 * every `wait` milliseconds, and only then.
 * @param {() => string} look what is watched, as text
 * @param {() => void} then
 * @param {() => boolean} alive the watching ends when this says no
 * @param {number} [wait]
 */
export function watch(look, then, alive, wait = 700) {
  let seen = look();
  const timer = setInterval(() => {
    if (!alive()) {
      clearInterval(timer);
      return;
    }
    const now = look();
    if (now === seen) return;
    seen = now;
    then();
  }, wait);
}

/** Name of this page at the server, "" before it has one. @returns {string} */
export function clientId() {
  return api.clientId ?? "";
}

/**
 * A tab in the panel at the bottom of the page.
 * @param {string} id
 * @param {string} title
 * @param {(container: HTMLElement) => void} render
 */
export function bottomTab(id, title, render) {
  register({ name: `${id}.Tab`, bottomPanelTabs: [{ id, title, type: "custom", render }] });
}

// --- sidebar ---

/**
 * A tab in the bar at the side. ComfyUI calls `render(container)` at each opening, and again
 * whenever it likes while the tab is open.
 * @param {{id: string, icon: string, title: string, tooltip: string, render: (container: HTMLElement) => void, destroy?: () => void}} tab
 */
export function sidebarTab(tab) {
  app.extensionManager.registerSidebarTab({ type: "custom", ...tab });
}

/** Call `onSetup()` when ComfyUI's page and its settings are there. @param {string} name @param {() => void} onSetup */
export function onSetup(name, onSetup) {
  register({ name, setup: onSetup });
}

/** Show a node: its graph, itself in the middle, selected. @param {any} node */
export function showNode(node) {
  if (app.canvas.graph !== node.graph) app.canvas.setGraph?.(node.graph);
  app.canvas.selectNode?.(node);
  app.canvas.centerOnNode?.(node);
}

/**
 * A new node in a graph, or null where ComfyUI does not know the class.
 * @param {any} graph null: the graph on the screen
 * @param {string} nodeClass
 * @param {[number, number]} [at] place; left out: the middle of the screen
 */
export function placeNode(graph, nodeClass, at) {
  const node = /** @type {any} */ (globalThis).LiteGraph.createNode(nodeClass);
  if (!node) return null;
  const [x, y, width, height] = app.canvas.visible_area ?? [0, 0, 800, 600];
  node.pos = at ?? [x + width / 2 - node.size[0] / 2, y + height / 2 - node.size[1] / 2];
  (graph ?? app.canvas.graph).add(node);
  return node;
}

/** Call `onChange()` after changes of the open workflow, and when another one is opened. @param {() => void} onChange */
export function onGraphChange(onChange) {
  onServerEvent("graphChanged", onChange);
}

/** Let ComfyUI remember the graph for its undo. */
export function rememberGraph() {
  app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.checkState?.();
}

/** The node under a file that is being dropped, or null; Nodes 2.0 draws nodes as elements. @param {EventTarget} place @returns {any} */
export function draggedOver(place) {
  const drawn = place instanceof Element ? place.closest("[data-node-id]")?.getAttribute("data-node-id") : null;
  return /** @type {any} */ (app).dragOverNode ?? (drawn ? openGraph()?.getNodeById(drawn) : null) ?? null;
}

/** Say which node a file is dropped on; null: none. @param {any} node */
export function setDraggedOver(node) {
  /** @type {any} */ (app).dragOverNode = node;
  app.canvas?.setDirty(true, true);
}

/** Open a file as ComfyUI does when it is dropped on the canvas. @param {File} file */
export function openFile(file) {
  return app.handleFile(file);
}

/** Address of a picture that a run has left. @param {{filename: string, subfolder?: string, type?: string}} picture */
export function pictureUrl(picture) {
  const query = new URLSearchParams({ filename: picture.filename, subfolder: picture.subfolder ?? "", type: picture.type ?? "temp" });
  return api.apiURL(`/view?${query}`);
}

/** Whether the server still has a picture: it clears those of runs when it starts. @param {any} picture as for `pictureUrl` */
export function hasPicture(picture) {
  return fetch(pictureUrl(picture), { method: "HEAD" }).then((answer) => answer.ok, () => false);
}

/** What a node handed out when it last ran, as far as the page remembers. @param {any} node */
export function outputOf(node) {
  const inside = node.graph !== rootGraph();
  return app.nodeOutputs?.[inside ? `${node.graph?.id}:${node.id}` : node.id] ?? null;
}

// --- fast ---

/** The graph that is open: the outer one or a subgraph's. */
export function openGraph() {
  return app.canvas?.graph ?? rootGraph();
}

/** Nodes of one graph. @param {any} graph @returns {any[]} */
export function nodesIn(graph) {
  return [...(graph?.nodes ?? [])];
}

/** Nodes the user has selected. @returns {any[]} */
export function selectedNodes() {
  return Object.values(app.canvas?.selected_nodes ?? {});
}

/** Select those of the nodes that are on the screen, and nothing else. @param {any[]} nodes */
export function select(nodes) {
  const shown = nodes.filter((node) => node.graph === app.canvas?.graph);
  if (shown.length) app.canvas.selectItems(shown);
}

/**
 * Do something to the graph that one undo takes back, also what comes of it a moment later.
 * @template T
 * @param {() => T | Promise<T>} change
 * @returns {Promise<T>}
 */
export async function inOneStep(change) {
  app.canvas.emitBeforeChange();
  try {
    return await change();
  } finally {
    app.canvas.emitAfterChange();
    app.canvas.setDirty(true, true);
  }
}

/** A new node of a class, in a graph. @param {any} graph @param {string} nodeClass */
export function addNode(graph, nodeClass) {
  const node = /** @type {any} */ (globalThis).LiteGraph.createNode(nodeClass);
  graph.add(node);
  return node;
}

/**
 * Where a node is, with its title: left, top, width, height. Nodes 2.0 draws some taller than the
 * graph knows.
 * @param {any} node
 * @returns {[number, number, number, number]}
 */
export function nodeBox(node) {
  const title = /** @type {any} */ (globalThis).LiteGraph.NODE_TITLE_HEIGHT ?? 30;
  const drawn = /** @type {HTMLElement | null} */ (document.querySelector(`[data-node-id="${node.id}"]`));
  const high = Math.max(node.size[1] + title, drawn?.offsetHeight ?? 0);
  const wide = Math.max(node.size[0], drawn?.offsetWidth ?? 0);
  return [node.pos[0], node.pos[1] - title, wide, high];
}

/** Value of a widget, or undefined. @param {any} node @param {string} name */
export function valueOf(node, name) {
  return widgetOf(node, name)?.value;
}

/**
 * Give a widget a value, as if the user had; not one that a link feeds.
 * @param {any} node
 * @param {string} name
 * @param {unknown} value undefined: leave it
 * @returns {boolean} whether there is such a widget
 */
export function setValue(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || value === undefined || input(node, name)) return false;
  if (widget.value === value) return true;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
  return true;
}

/**
 * What is plugged into an input: the very next output, also a subgraph's own input; or null.
 * @param {any} node
 * @param {number | string} which slot or name
 * @returns {{graph: any, node: any, slot: number} | null} node null: an input of the subgraph
 */
export function input(node, which) {
  const slot = typeof which === "number" ? which
    : node.inputs?.findIndex((/** @type {any} */ each) => each.name === which) ?? -1;
  const link = slot < 0 ? null : node.getInputLink(slot);
  if (!link) return null;
  return { graph: node.graph, node: node.graph.getNodeById(link.origin_id) ?? null, slot: link.origin_slot };
}

/** Plug something found by `input` into another node as well. @param {any} node @param {string} name @param {any} source */
export function feed(node, name, source) {
  const slot = node.inputs?.findIndex((/** @type {any} */ each) => each.name === name) ?? -1;
  if (slot < 0) return;
  if (source.node) source.node.connect(source.slot, node, slot);
  else source.graph.inputNode.slots[source.slot].connect(node.inputs[slot], node);
}

// --- measure ---

/** The open workflow as the server runs it: node id -> class and inputs. @returns {Promise<Record<string, any>>} */
export async function promptOfGraph() {
  return (await app.graphToPrompt()).output;
}

/**
 * Let the server run a prompt that is not the open workflow's.
 * @param {Record<string, any>} prompt
 * @returns {Promise<string>} its id
 * @throws {Error} with the server's sentence
 */
export async function runPrompt(prompt) {
  try {
    const { prompt_id: id } = await api.queuePrompt(0, { output: prompt, workflow: undefined });
    return id;
  } catch (error) {
    const { error: whole, node_errors: nodes } = /** @type {any} */ (error).response ?? {};
    const details = Object.values(nodes ?? {}).flatMap((/** @type {any} */ each) => each.errors ?? []);
    throw new Error(details[0]?.details || details[0]?.message || whole?.message || String(error));
  }
}

/** End a prompt that runs, or take it out of the queue. @param {string} id */
export async function endPrompt(id) {
  await Promise.all([api.deleteItem("queue", id), api.interrupt(id)]);
}

// --- language ---

/** Wait for `then()` before ComfyUI makes any node or tab. @param {string} name @param {() => Promise<void>} then */
export function beforeAll(name, then) {
  register({ name, init: then });
}

/**
 * Words of a pack for the page's language, as ComfyUI gathers them from locales/.
 * @param {string} key of main.json
 * @returns {Promise<Record<string, string>>} nothing for English, or if they cannot be had
 */
export async function wordsOfPage(key) {
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  if (language === "en") return {};
  try {
    const all = await (await api.fetchApi("/i18n")).json();
    return all[language]?.[key] ?? all[language.split("-")[0]]?.[key] ?? {};
  } catch {
    return {};
  }
}

// --- said ---

const UNSAVED = "00000000-0000-0000-0000-000000000000";

/** Under which key something is kept of a node, or "" for a workflow without a name of its own. @param {any} node */
export function keyOf(node) {
  const workflow = rootGraph()?.id;
  return !workflow || workflow === UNSAVED ? ""
    : [workflow, node.graph?.id, node.id, node.comfyClass].join("/");
}

/** Whether the page shows an app's inputs and pictures instead of the graph. */
export function inAppMode() {
  return !app.canvas?.canvas?.getClientRects().length;
}
