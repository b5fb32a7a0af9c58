// Our words in the page's language. English is the key and what is said where a word is missing;
// locales/LANGUAGE/main.json has the others under "solverSearch". A test finds what is missing.

/** @type {Record<string, string>} */
let table = {};

/** Use another language's words. @param {Record<string, string>} words English -> theirs */
export function speak(words) {
  table = words;
}

/**
 * A text in the page's language, with values put in for {name}.
 * @param {string} english
 * @param {Record<string, string | number>} [values]
 */
export function t(english, values = {}) {
  return (table[english] ?? english).replace(/\{(\w+)\}/g,
    (whole, name) => (name in values ? String(values[name]) : whole));
}
