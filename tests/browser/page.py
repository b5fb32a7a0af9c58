"""ComfyUI's page: what a person does there, and what a test needs to see of it."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch.places import OUTPUT
from launch.server import Server

SCREENSHOTS = OUTPUT / "screenshots"
LONG = 300.0  # seconds a run may take on a machine that is busy; a test goes on when it has ended
LOOK = 150  # ms between looks at the page
ENDS = ("execution_success", "execution_error", "execution_interrupted")
EVENTS = (*ENDS, "execution_start", "executed", "execution_cached", "solver_search.said",
          "solver_search.progress", "solver_search.presets")
FRESH = """
if (!sessionStorage.getItem("opened by a test")) {
  localStorage.clear();
  sessionStorage.clear();
  sessionStorage.setItem("opened by a test", "yes");
}
"""
READY = """() => {
  const app = window.comfyAPI?.app?.app;
  return !!(app?.graph && app.canvas && app.extensionManager?.setting &&
    window.LiteGraph?.registered_node_types?.SolverSearch_Load &&
    document.querySelector('[data-testid="queue-button"]'));
}"""
LISTEN = """(names) => {
  window.happened = [];
  const api = window.comfyAPI.api.api;
  for (const name of names)
    api.addEventListener(name, (event) => window.happened.push([name, event.detail]));
}"""
BUILD = """async (app, nodes) => {
  const made = {};
  app.rootGraph.clear();
  Object.entries(nodes).forEach(([name, [kind, widgets]], i) => {
    const node = window.LiteGraph.createNode(kind);
    node.pos = [100 + 420 * (i % 4), 100 + 460 * Math.floor(i / 4)];
    app.rootGraph.add(node);
    for (const [key, value] of Object.entries(widgets)) {
      const widget = node.widgets.find((w) => w.name === key);
      if (!widget) throw new Error(`${kind} has no widget ${key}`);
      widget.value = value;
    }
    made[name] = node;
  });
  for (const [name, [, , inputs]] of Object.entries(nodes))
    for (const [input, from] of Object.entries(inputs)) {
      const slot = made[name].inputs.findIndex((each) => each.name === input);
      const [source, output] = from.split(".");
      if (slot >= 0) made[source].connect(Number(output), made[name], slot);
    }
  const graph = app.rootGraph.serialize();
  await app.loadGraphData({ ...graph, id: crypto.randomUUID() });
  return Object.fromEntries(Object.entries(made).map(([name, node]) => [name, node.id]));
}"""
# The workflow's id is in what the page keeps for a reload; what we keep ourselves has it, too.
KEPT = """(app) => [localStorage, sessionStorage].some((kept) => Object.entries({ ...kept })
  .some(([key, text]) => !key.startsWith("SolverSearch") && text.includes(app.rootGraph.id)))"""
NODE_OF = """(app, id) => [app.rootGraph, ...app.rootGraph.subgraphs.values()]
  .map((graph) => graph.getNodeById(id)).find((node) => node)"""
SHOWN = "(app, id) => { const node = (" + NODE_OF + ")(app, id);" + """
  const seen = (element) => {
    const box = element.getBoundingClientRect();
    return element.isConnected && box.width > 0 && box.height > 0;
  };
  return (node.widgets ?? []).filter((w) => w.element && seen(w.element))
    .map((w) => w.element.textContent || w.element.value || "").join("\\n").trim();
}"""


class FrontEnd:
    """One open page of ComfyUI."""

    def __init__(self, page: Any, server: Server) -> None:  # noqa: ANN401
        self.page = page
        self.server = server
        self.actions = 0
        page.add_init_script(FRESH)

    # --- the page ---

    def visit(self) -> None:
        """Open the page and wait until it can be used."""
        self.page.goto(self.server.address)
        self._ready()

    def reload(self) -> None:
        """As with F5."""
        self.page.reload()
        self._ready()

    def _ready(self) -> None:
        self.page.wait_for_function(READY, timeout=120_000)  # two busy cores
        self.page.evaluate(LISTEN, list(EVENTS))

    def js(self, code: str, value: Any = None) -> Any:  # noqa: ANN401
        """Run a function of (app, value) in the page."""
        return self.page.evaluate(
            f"(value) => ({code})(window.comfyAPI.app.app, value)", value)

    def wait_js(self, code: str, value: Any = None, seconds: float = 30) -> None:  # noqa: ANN401
        """Wait until a function of (app, value) is true."""
        self.page.wait_for_function(
            f"(value) => ({code})(window.comfyAPI.app.app, value)", arg=value,
            timeout=seconds * 1000)

    def setting(self, name: str, value: object) -> None:
        """Change one of ComfyUI's settings, as its settings page does."""
        self.js("(app, [name, value]) => app.extensionManager.setting.set(name, value)",
                [name, value])

    def vue(self, on: bool) -> None:
        """Nodes 2.0, or classic."""
        self.setting("Comfy.VueNodes.Enabled", on)

    def light(self, on: bool) -> None:
        """The light theme, or the dark one."""
        self.setting("Comfy.ColorPalette", "light" if on else "dark")

    def screenshot(self, name: str, element: Any = None) -> Path:  # noqa: ANN401
        """Keep a picture of the page, or of an element, below output/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        (element or self.page).screenshot(path=path)
        return path

    # --- workflows ---

    def open(self, workflow: dict[str, Any] | Path) -> None:
        """Open a workflow, as a dropped file would."""
        graph = json.loads(workflow.read_text("utf-8")) if isinstance(workflow, Path) else workflow
        self.js("(app, graph) => app.loadGraphData(graph)", graph)
        self.wait_js("(app, n) => app.rootGraph.nodes.length >= n", len(graph["nodes"]))

    def build(self, nodes: dict[str, Any]) -> dict[str, int]:
        """Open a workflow told as in workflows.py.

        Returns:
            The nodes' ids by name.
        """
        return self.js(BUILD, {name: list(node) for name, node in nodes.items()})

    def template(self, pack: str, name: str) -> None:
        """Open a pack's template, without the browser of templates."""
        path = "/api/workflow_templates/" + urllib.parse.quote(f"{pack}/{name}.json")
        self.js("async (app, path) => app.loadGraphData(await (await fetch(path)).json())", path)

    def graph(self) -> dict[str, Any]:
        """The open workflow as it would be saved."""
        return self.js("(app) => app.rootGraph.serialize()")

    def run(self, seconds: float = LONG) -> str:
        """Queue the open workflow and wait for its end.

        Returns:
            The event that ended it, or "refused".
        """
        before = self.page.evaluate("() => window.happened.length")
        if not self.js("(app) => app.queuePrompt(0, 1)"):
            return "refused"
        return self.end(before, seconds)

    def end(self, before: int = 0, seconds: float = LONG) -> str:
        """Wait for the end of what runs; `before` events are not looked at."""
        found = self.page.wait_for_function(
            "([ends, n]) => window.happened.slice(n).find(([name]) => ends.includes(name))?.[0]",
            arg=[list(ENDS), before], timeout=seconds * 1000)
        return found.json_value()

    def events(self, name: str) -> list[Any]:
        """What came with the server's events of this name."""
        return self.page.evaluate(
            "(name) => window.happened.filter(([n]) => n === name).map(([, d]) => d)", name)

    # --- nodes ---

    def node(self, kind: str) -> int:
        """Id of the only node of a class."""
        found = self.js("(app, kind) => app.rootGraph.nodes.filter((n) => n.comfyClass === kind)"
                        ".map((n) => n.id)", kind)
        assert len(found) == 1, (kind, found)
        return found[0]

    def widget(self, node: int, name: str) -> Any:  # noqa: ANN401
        """Value of a node's widget."""
        return self.js("(app, [id, name]) => app.rootGraph.getNodeById(id).widgets"
                       ".find((w) => w.name === name).value", [node, name])

    def choose(self, node: int, name: str, value: object) -> None:
        """Give a widget another value, as choosing it does."""
        self.js("(app, [id, name, value]) => { const node = app.rootGraph.getNodeById(id);"
                " const w = node.widgets.find((w) => w.name === name);"
                " w.value = value; w.callback?.(value, app.canvas, node); }",
                [node, name, value])

    def options(self, node: int, name: str) -> list[str]:
        """What a combo offers now."""
        return self.js("(app, [id, name]) => { const w = app.rootGraph.getNodeById(id).widgets"
                       ".find((w) => w.name === name); const v = w.options.values;"
                       " return [...(typeof v === 'function' ? v(w) : v)]; }", [node, name])

    def said(self, node: int) -> str:
        """What stands on a node in widgets that are elements of the page and can be seen, what
        is folded included."""
        self.js("(app, id) => { app.canvas.centerOnNode((" + NODE_OF + ")(app, id));"
                " app.canvas.setDirty(true, true); }", node)
        self.page.wait_for_timeout(150)
        return self.js(SHOWN, node)

    def wait_said(self, node: int, *texts: str) -> str:
        """Wait until a node says all of these.

        Raises:
            AssertionError: with what it says instead.
        """
        return self.until(lambda: self.said(node), lambda found: all(
            text.lower() in found.lower() for text in texts), f"node {node} says {texts}")

    def until(self, look: Callable[[], Any], wanted: Callable[[Any], bool],  # noqa: ANN401
              what: str, seconds: float = 30) -> Any:  # noqa: ANN401
        """Look again until what is seen is what is wanted.

        Raises:
            AssertionError: with what was seen last.
        """
        end = time.monotonic() + seconds
        while not wanted(found := look()):
            if time.monotonic() > end:
                self.screenshot("not seen")
                raise AssertionError(f"wanted: {what}; found {found!r}")
            self.page.wait_for_timeout(LOOK)
        return found

    def wait_kept(self) -> None:
        """Wait until the page has kept the open workflow as it is, for a reload."""
        self.wait_js(KEPT)

    def select(self, node: int) -> None:
        """Select a node and bring it to the middle."""
        self.js("(app, id) => { const n = app.rootGraph.getNodeById(id);"
                " app.canvas.centerOnNode(n); app.canvas.selectItems([n]); }", node)

    def into_subgraph(self, nodes: list[int]) -> None:
        """Put nodes into one, as the menu does."""
        self.js("(app, ids) => app.canvas.selectItems(ids.map((i) => "
                "app.rootGraph.getNodeById(i)))", nodes)
        self.command("Comfy.Graph.ConvertToSubgraph")
        self.wait_js("(app) => app.rootGraph.nodes.some((n) => n.isSubgraphNode?.())")

    def open_subgraph(self) -> None:
        """Show what is in the only one."""
        self.wait_js("(app) => app.rootGraph.subgraphs.size > 0")
        self.js("(app) => app.canvas.setGraph([...app.rootGraph.subgraphs.values()][0])")

    def command(self, name: str) -> None:
        """Run a command, as its shortcut or menu does."""
        self.js("(app, name) => app.extensionManager.command.execute(name)", name)

    def node_search(self, word: str) -> list[str]:
        """What ComfyUI's search for nodes answers, best first."""
        self.command("Workspace.SearchBox.Toggle")
        box = self.page.locator("[role=dialog] input").first
        box.wait_for()
        results = self.page.locator("[role=option], [data-testid^='result-item']")
        seen = [results.all_inner_texts()]
        box.fill(word)

        def settled(found: list[str]) -> bool:
            """Other results than before the word, and the same at two looks."""
            seen.append(found)
            return bool(found) and found == seen[-2] != seen[0]
        found = self.until(results.all_inner_texts, settled, f"results for {word}")
        self.command("Workspace.SearchBox.Toggle")
        box.wait_for(state="hidden")
        return found

    def ask(self, path: str) -> Any:  # noqa: ANN401
        """Answer of one of our routes."""
        return self.js("async (app, path) => (await fetch('/solver_search' + path)).json()", path)

    # --- a person's actions, counted ---

    def act(self, do: Any) -> None:  # noqa: ANN401
        """One action of a person: a click, a key, a drop, a word typed."""
        self.actions += 1
        do()

    def drop(self, data: bytes, name: str, selector: str = "canvas#graph-canvas") -> None:
        """Drop a file onto an element, with the events a browser sends."""
        self.page.evaluate("""([bytes, name, selector]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          const target = document.querySelector(selector);
          const box = target.getBoundingClientRect();
          const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
          for (const kind of ["dragenter", "dragover", "drop"])
            target.dispatchEvent(new DragEvent(kind,
              { bubbles: true, cancelable: true, composed: true, dataTransfer: transfer, ...at }));
        }""", [list(data), name, selector])

    def drop_on_node(self, data: bytes, name: str, node: int) -> None:
        """Drop a file onto a node on the canvas."""
        self.page.evaluate("""([bytes, name, id]) => {
          const app = window.comfyAPI.app.app;
          const node = app.rootGraph.getNodeById(id);
          const drawn = document.querySelector(`[data-node-id="${id}"]`);
          const canvas = app.canvas.canvas.getBoundingClientRect();
          const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + 40, node.pos[1] + 8]);
          const box = drawn?.getBoundingClientRect();
          const at = box?.width ? { clientX: box.x + 40, clientY: box.y + 40 }
            : { clientX: canvas.x + x, clientY: canvas.y + y };
          const target = box?.width ? drawn : app.canvas.canvas;
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          for (const kind of ["dragenter", "dragover", "drop"])
            target.dispatchEvent(new DragEvent(kind,
              { bubbles: true, cancelable: true, composed: true, dataTransfer: transfer, ...at }));
        }""", [list(data), name, node])
