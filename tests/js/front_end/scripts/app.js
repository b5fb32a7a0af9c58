// ComfyUI's app for tests without a browser: it remembers what was registered.
export const app = {
  extensions: [],
  graph: { nodes: [] },
  extensionManager: { setting: { get: () => undefined }, toast: { add: () => undefined } },
  registerExtension(extension) {
    this.extensions.push(extension);
  },
};
