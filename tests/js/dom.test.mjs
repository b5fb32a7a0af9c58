// Elements of ours: what comes from files is text, and a listener is no attribute.
import assert from "node:assert/strict";
import { test } from "node:test";

class FakeElement {
  attributes = {};
  listeners = {};
  children = [];

  constructor(tag) {
    this.tag = tag;
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }

  append(...children) {
    this.children.push(...children);
  }
}

globalThis.document = { createElement: (tag) => new FakeElement(tag) };
const { button, el } = await import("../../web/js/dom.js");

test("children are text or elements, nothing is left of null and false", () => {
  const inner = el("b");
  const made = el("p", {}, "<img src=x onerror=alert(1)>", inner, 0, null, false, undefined);
  assert.deepEqual(made.children, ["<img src=x onerror=alert(1)>", inner, "0"]);
});

test("on… listens, everything else is an attribute, null and false leave it out", () => {
  const click = () => undefined;
  const made = button("Stop", click, { title: "now", disabled: false, hidden: true, id: null });
  assert.equal(made.listeners.click, click);
  assert.deepEqual(made.attributes, { type: "button", title: "now", hidden: "" });
});
