// Every call of ComfyUI's front end, in one place.
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
