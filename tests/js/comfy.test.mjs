// The adapter's way to our routes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ask, tell, urlOf } from "../../web/js/comfy.js";
import { api } from "./front_end/scripts/api.js";

test("a question is answered with JSON and carries our header", async () => {
  api.answers = { "/solver_search/presets": { presets: [] } };
  assert.deepEqual(await ask("/presets"), { presets: [] });
  const [path, options] = api.asked.at(-1);
  assert.equal(path, "/solver_search/presets");
  assert.equal(options.headers["X-Solver-Search"], "1");
});

test("a refusal becomes an error with the server's sentence", async () => {
  api.answers = {};
  await assert.rejects(ask("/nothing"), { message: "no answer" });
});

test("what is told is a POST of JSON with our header", async () => {
  api.answers = { "/solver_search/delete": { bin: "1" } };
  assert.deepEqual(await tell("/delete", { file: "a" }), { bin: "1" });
  const [, options] = api.asked.at(-1);
  assert.equal(options.method, "POST");
  assert.equal(options.body, '{"file":"a"}');
  assert.equal(options.headers["X-Solver-Search"], "1");
  assert.equal(options.headers["Content-Type"], "application/json");
});

test("addresses are below our prefix", () => {
  assert.equal(urlOf("/picture?file=a"), "/solver_search/picture?file=a");
});
