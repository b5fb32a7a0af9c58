// What the browser keeps by node: so many, the oldest forgotten first. What is read may be anything.

/**
 * @param {string} name where it is kept
 * @param {number} most
 */
export function nodeStore(name, most) {
  /** @param {Storage} storage @returns {[string, any][]} oldest first */
  const entries = (storage) => {
    try {
      const found = JSON.parse(storage.getItem(name) ?? "[]");
      const pairs = Array.isArray(found) ? found.filter((pair) => Array.isArray(pair)) : [];
      return /** @type {[string, any][]} */ (pairs.slice(-most));
    } catch {
      return [];
    }
  };
  /** @param {Storage} storage @param {[string, any][]} kept */
  const write = (storage, kept) => {
    try {
      storage.setItem(name, JSON.stringify(kept));
    } catch {
      storage.removeItem(name); // the browser's room is used up
    }
  };
  return {
    /** Keep something under a key. @param {Storage} storage @param {string} key @param {unknown} value */
    keep(storage, key, value) {
      const others = entries(storage).filter(([other]) => other !== key);
      write(storage, [.../** @type {[string, any][]} */ (others.slice(1 - most)), [key, value]]);
    },
    /** Forget what is kept under a key. @param {Storage} storage @param {string} key */
    forget(storage, key) {
      const all = entries(storage);
      if (all.some(([other]) => other === key)) write(storage, all.filter(([other]) => other !== key));
    },
    /** What is kept under a key, or null. @param {Storage} storage @param {string} key @returns {any} */
    kept(storage, key) {
      return entries(storage).find(([other]) => other === key)?.[1] ?? null;
    },
  };
}
