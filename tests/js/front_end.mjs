// node --import ./tests/js/front_end.mjs: web/js imports ComfyUI's scripts from here.
import { register } from "node:module";

register("./front_end_hooks.mjs", import.meta.url);
