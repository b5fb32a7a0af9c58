// Where web/js/comfy.js asks for /scripts/app.js it gets front_end/scripts/app.js.
const SCRIPT = /\/scripts\/(app|api)\.js$/;

export async function resolve(specifier, context, next) {
  const script = specifier.startsWith("../") && SCRIPT.exec(specifier);
  if (!script) return next(specifier, context);
  const url = new URL(`./front_end/scripts/${script[1]}.js`, import.meta.url).href;
  return { url, format: "module", shortCircuit: true };
}

export async function load(url, context, next) {
  return next(url, url.includes("/web/") ? { ...context, format: "module" } : context);
}
