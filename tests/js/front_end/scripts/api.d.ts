// The part of ComfyUI's scripts/api.js that web/js/comfy.js may rely on.
export interface Api extends EventTarget {
  clientId?: string;
  addEventListener(name: string, listener: (event: any) => void, options?: any): void;
  removeEventListener(name: string, listener: (event: any) => void, options?: any): void;
  fetchApi(path: string, options?: RequestInit): Promise<Response>;
  apiURL(path: string): string;
  [other: string]: any;
}
export const api: Api;
