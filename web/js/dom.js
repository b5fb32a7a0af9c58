// Elements of a page. Text is always text: nothing here reads HTML.

/**
 * An element with attributes, listeners and children.
 *
 * `on…` are listeners, `class`, `style` and everything else attributes; null and false leave an
 * attribute out. Children are elements or text.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child || child === 0).map((child) =>
    typeof child === "number" ? String(child) : /** @type {Node | string} */ (child)));
  return element;
}

/** A button with a listener. @param {string} label @param {() => void} onClick @param {Record<string, any>} [attributes] */
export function button(label, onClick, attributes = {}) {
  return el("button", { type: "button", onclick: onClick, ...attributes }, label);
}

/** Replace what is inside an element. @param {Element} element @param {...(Node | string)} children */
export function fill(element, ...children) {
  element.replaceChildren(...children);
}
