// Every call of ComfyUI's front end, in one place.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/** Call `onNode(node)` for each new or loaded node of a class. */
export function eachNode(name, nodeClass, onNode) {
  const visit = (node) => {
    if (node.comfyClass === nodeClass) onNode(node);
  };
  app.registerExtension({ name, nodeCreated: visit, loadedGraphNode: visit });
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

/** What the server sent beside an input's options. */
export function inputExtra(node, input, key) {
  const spec = node.constructor.nodeData?.input?.required?.[input];
  return spec?.[1]?.[key];
}

/** The node before `node` on its input of this name, or null. */
export function sourceOf(node, input) {
  const slot = node.inputs?.findIndex((socket) => socket.name === input) ?? -1;
  return slot < 0 ? null : (node.getInputNode(slot) ?? null);
}

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
  app.extensionManager?.toast?.add({ severity, summary, detail, life: 6000 });
}

// --- cards ---

// --- sidebar ---

// --- fast ---
