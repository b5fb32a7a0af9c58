// The part of ComfyUI's scripts/app.js that web/js/comfy.js may rely on.
export interface App {
  registerExtension(extension: Record<string, any>): void;
  graph: any;
  rootGraph: any;
  canvas: any;
  extensionManager: any;
  ui: any;
  [other: string]: any;
}
export const app: App;
