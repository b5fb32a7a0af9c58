// Elements of a page. Text is always text: nothing here reads HTML.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Set attributes and listeners and put children in.
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, any>} attributes
 * @param {Child[]} children
 * @returns {E}
 */
function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child || child === 0) element.append(
    typeof child === "number" ? String(child) : child);
  return element;
}

/**
 * An element with attributes, listeners and children.
 *
 * `on…` are listeners, `class`, `style` and everything else attributes; null and false leave an
 * attribute out. Children are elements or text.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/**
 * A part of a drawing, as `el` for SVG.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return dress(/** @type {SVGElement} */ (element), attributes, children);
}

/** A button with a listener. @param {string} label @param {() => void} onClick @param {Record<string, any>} [attributes] */
export function button(label, onClick, attributes = {}) {
  return el("button", { type: "button", onclick: onClick, ...attributes }, label);
}

/** Replace what is inside an element. @param {Element} element @param {...Child} children */
export function fill(element, ...children) {
  element.replaceChildren();
  dress(element, {}, children);
}
