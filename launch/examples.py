"""Writes the example workflows, for artists and for the demo checkpoints, from short outlines.

    python -m launch.examples

Artists' examples use stock text encoders; the demo's use the Demo Prompt node, because the tiny
demo models come without one. Everything else is the same graph. A test compares the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.prompts import HELD_OUT_PROMPTS, SEARCH_PROMPTS

from .places import ROOT

ARTISTS = ROOT / "example_workflows"
DEMO = ROOT / "demo" / "comfy_nodes" / "example_workflows"
SOCKETS = {
    "CheckpointLoaderSimple": [("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")],
    "CLIPTextEncode": [("CONDITIONING", "CONDITIONING")],
    "SolverSearchDemo_Prompt": [("CONDITIONING", "CONDITIONING")],
    "EmptyLatentImage": [("LATENT", "LATENT")],
    "EmptySD3LatentImage": [("LATENT", "LATENT")],
    "SolverSearch_Search": [("solver", "SOLVER"), ("plot", "IMAGE"), ("report", "STRING")],
    "SolverSearch_Load": [("solver", "SOLVER"), ("about", "STRING")],
    "SolverSearch_Use": [("MODEL", "MODEL")],
    "SolverSearch_Sampler": [("SAMPLER", "SAMPLER"), ("SIGMAS", "SIGMAS")],
    "SolverSearch_Compare": [("sheet", "IMAGE"), ("table", "STRING")],
    "KSampler": [("LATENT", "LATENT")],
    "RandomNoise": [("NOISE", "NOISE")],
    "CFGGuider": [("GUIDER", "GUIDER")],
    "SamplerCustomAdvanced": [("output", "LATENT"), ("denoised_output", "LATENT")],
    "VAEDecode": [("IMAGE", "IMAGE")],
    "SaveImage": [],
    "MarkdownNote": [],
}
LABELLED = {"ckpt_name": "COMBO", "text": "STRING", "preset": "COMBO", "steps": "STRING",
            "effort": "COMBO", "cfg": "FLOAT", "seed": "INT", "seeds": "INT"}


@dataclass
class Outline:
    """A graph being written; nodes are named by a key.

    Args:
        nodes: in the order they were added.
        links: as the front end stores them.
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    links: list[list[Any]] = field(default_factory=list)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, key: str, kind: str, at: tuple[int, int], size: tuple[int, int],
            widgets: list[Any] | None = None, title: str = "", **wires: str) -> None:
        """Add a node; `wires` are input name = "key.output"."""
        node = {"id": len(self.nodes) + 1, "type": kind, "pos": list(at), "size": list(size),
                "flags": {}, "order": len(self.nodes), "mode": 0, "inputs": [],
                "outputs": [{"name": name, "type": type_, "links": []}
                            for name, type_ in SOCKETS[kind]],
                "properties": {"Node name for S&R": kind}, "widgets_values": widgets or []}
        if title:
            node["title"] = title
        self.nodes.append(node)
        self.keys[key] = node
        for name, source in wires.items():
            self._wire(node, name, *source.split("."))

    def _wire(self, node: dict[str, Any], name: str, key: str, output: str) -> None:
        source = self.keys[key]
        slot = [socket["name"] for socket in source["outputs"]].index(output)
        socket, link = source["outputs"][slot], len(self.links) + 1
        socket["links"].append(link)
        self.links.append([link, source["id"], slot, node["id"], len(node["inputs"]),
                           socket["type"]])
        node["inputs"].append({"name": name, "type": socket["type"], "link": link})

    def note(self, text: str) -> None:
        """Say in a note above the graph what to do."""
        self.add("note", "MarkdownNote", (0, -190), (750, 150), [text], "What to do")

    def app(self, *inputs: tuple[str, str, str], output: str,
            first: bool = False) -> dict[str, Any]:
        """What app mode shows.

        Args:
            inputs: key, widget and label of each.
            output: key of the node whose pictures it shows.
            first: whether the workflow opens so; else as a graph, which shows what our nodes draw.
        """
        for key, widget, label in inputs:
            self.keys[key]["inputs"].append({
                "name": widget, "type": LABELLED[widget], "link": None, "label": label,
                "widget": {"name": widget}})
        return {"linearMode": first,
                "linearData": {"inputs": [[self.keys[key]["id"], widget]
                                          for key, widget, _ in inputs],
                               "outputs": [self.keys[output]["id"]]}}

    def graph(self, app: dict[str, Any]) -> dict[str, Any]:
        """The workflow as the front end saves it."""
        return {"last_node_id": len(self.nodes), "last_link_id": len(self.links),
                "nodes": self.nodes, "links": self.links, "groups": [], "config": {},
                "extra": app, "version": 0.4}


@dataclass(frozen=True)
class Setting:
    """What differs between artists' examples and the demo's.

    Args:
        checkpoint: file name.
        latent: node that makes the empty latent, with its widgets.
        cfg: guidance.
        prompts: positive texts: to search and sample with, and to compare with.
        seeds: compared seeds.
        effort: of the search.
    """

    checkpoint: str
    latent: tuple[str, list[Any]]
    cfg: float
    prompts: tuple[str, str]
    negative: str
    seeds: int
    effort: str
    demo: bool
    single: tuple[str, list[Any]]


SDXL = {"name": "sd_xl_base_1.0.safetensors", "directory": "checkpoints",
        "url": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/"
               "sd_xl_base_1.0.safetensors"}
FOR_ARTISTS = Setting(
    "sd_xl_base_1.0.safetensors", ("EmptyLatentImage", [1024, 1024, 4]), 6.0,
    ("a photograph of a lighthouse in the evening, warm light, film grain",
     "a bowl of oranges on a wooden table, oil painting"),
    "blurry, low quality", 16, "standard", False, ("EmptyLatentImage", [1024, 1024, 1]))
FOR_DEMO = Setting(
    "demo_flow.safetensors", ("EmptySD3LatentImage", [64, 64, 16]), 2.5,
    ("\n".join(SEARCH_PROMPTS), "\n".join(HELD_OUT_PROMPTS)), "", 64, "thorough", True,
    ("EmptySD3LatentImage", [64, 64, 4]))


def _model(outline: Outline, setting: Setting, *, compare: bool) -> None:
    outline.add("checkpoint", "CheckpointLoaderSimple", (0, 120), (320, 110),
                [setting.checkpoint])
    if not setting.demo:
        outline.keys["checkpoint"]["properties"]["models"] = [SDXL]
    texts = {"positive": setting.prompts[0], "negative": setting.negative}
    if compare:
        texts["other prompts"] = setting.prompts[1]
    for row, (key, text) in enumerate(texts.items()):
        kind, wires = _prompt_kind(setting)
        outline.add(key, kind, (370, 40 + row * 210), (380, 170), [text], key.capitalize(),
                    **wires)


CHECKPOINT = ("checkpoint", "ckpt_name", "Checkpoint")
PROMPT = ("positive", "text", "Prompt")
PRESET = ("load", "preset", "Solver preset")
SEED = ("ksampler", "seed", "Seed")
AUTOMATIC = ["(best for the connected model)", 0]
NOTES = {
    "use": "1. Choose your checkpoint, write a prompt, press **Run**.\n2. Load Solver Preset "
           "takes what suits it best; its steps are used, not those of KSampler.",
    "quick": "1. Choose your checkpoint and CFG, press **Run** and wait once: the solver is "
             "searched and saved.\n2. From then on it is in Load Solver Preset.",
    "search": "1. **Prompts to search with** should look like your own; the picture has a prompt "
              "of its own.\n2. Press **Run**: search, comparison on other prompts, pictures.",
    "compare": "1. Choose your checkpoint and a preset, press **Run**.\n2. The sheet shows each "
               "sampler's pictures; a smaller error is nearer to 100 steps.",
}


def search_and_compare(setting: Setting) -> dict[str, Any]:
    """Search, compare on other prompts, and sample through both sampler nodes."""
    g = Outline()
    _model(g, setting, compare=True)
    g.keys["positive"]["title"] = "Prompts to search with"
    kind, wire = _prompt_kind(setting)
    g.add("picture prompt", kind, (370, 720), (380, 170), [setting.prompts[0].split("\n")[0]],
          "Prompt of the picture", **wire)
    g.add("size", setting.latent[0], (0, 300), (320, 110), setting.latent[1], "Size, batch")
    g.add("search", "SolverSearch_Search", (800, 40), (380, 720),
          [6, "fit", setting.effort, 0, "", setting.cfg], latent="size.LATENT",
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE")
    everything = "all built-in samplers and schedules"
    g.add("compare", "SolverSearch_Compare", (1240, 940), (620, 620),  # it grows: nothing below
          [setting.cfg, setting.seeds, 1000, everything], solver="search.solver",
          model="checkpoint.MODEL", positive="other prompts.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE", latent="size.LATENT")
    g.add("sheet", "SaveImage", (1900, 940), (420, 340), ["solver_search/contact_sheet"],
          "Contact sheet", images="compare.sheet")
    g.add("plot", "SaveImage", (1900, 1330), (420, 300), ["solver_search/solver"],
          "Plot of the solver", images="search.plot")
    _ksampler(g, setting, "search.solver", (1240, 40), "picture prompt")
    _custom(g, setting, "search.solver", (1240, 420), "picture prompt")
    g.note(NOTES["search"])
    return g.graph(g.app(CHECKPOINT, ("picture prompt", "text", "Prompt"),
                         ("search", "steps", "Steps"), ("search", "effort", "Effort"),
                         output="picture"))


def quick_search(setting: Setting) -> dict[str, Any]:
    """Search with little effort and paint with the result at once."""
    g = Outline()
    _model(g, setting, compare=False)
    g.add("one size", setting.single[0], (0, 300), (320, 110), setting.single[1], "Size")
    g.add("search", "SolverSearch_Search", (800, 40), (380, 420),
          [8, "fit", "quick", 0, "", setting.cfg], latent="one size.LATENT",
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE")
    _ksampler(g, setting, "search.solver", (1240, 40))
    g.note(NOTES["quick"])
    return g.graph(g.app(CHECKPOINT, PROMPT, ("search", "steps", "Steps"), SEED,
                         output="picture"))


def use_a_preset(setting: Setting) -> dict[str, Any]:
    """Load a preset and sample with it through KSampler."""
    g = Outline()
    _model(g, setting, compare=False)
    g.add("load", "SolverSearch_Load", (370, 470), (380, 200), AUTOMATIC,
          model="checkpoint.MODEL")
    _ksampler(g, setting, "load.solver", (800, 120))
    g.note(NOTES["use"])
    return g.graph(g.app(CHECKPOINT, PROMPT, PRESET, ("ksampler", "cfg", "CFG"), SEED,
                         output="picture", first=True))


def compare_solvers(setting: Setting) -> dict[str, Any]:
    """Compare a preset with ComfyUI's own samplers."""
    g = Outline()
    _model(g, setting, compare=False)
    g.add("size", setting.latent[0], (0, 300), (320, 110), setting.latent[1], "Size, batch")
    g.add("load", "SolverSearch_Load", (370, 470), (380, 200), AUTOMATIC,
          model="checkpoint.MODEL")
    g.add("compare", "SolverSearch_Compare", (800, 40), (620, 620),
          [setting.cfg, 16, 1000, "popular samplers, all schedules"], solver="load.solver",
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE", latent="size.LATENT")
    g.add("sheet", "SaveImage", (1470, 40), (420, 340), ["solver_search/contact_sheet"],
          "Contact sheet", images="compare.sheet")
    g.note(NOTES["compare"])
    return g.graph(g.app(CHECKPOINT, PROMPT, PRESET, ("compare", "seeds", "Seeds"),
                         output="sheet"))


def _prompt_kind(setting: Setting) -> tuple[str, dict[str, str]]:
    if setting.demo:
        return "SolverSearchDemo_Prompt", {"model": "checkpoint.MODEL"}
    return "CLIPTextEncode", {"clip": "checkpoint.CLIP"}


def _ksampler(g: Outline, setting: Setting, solver: str, at: tuple[int, int],
              prompt: str = "positive") -> None:
    x, y = at
    g.add("use", "SolverSearch_Use", (x, y), (260, 80), model="checkpoint.MODEL", solver=solver)
    if "one size" not in g.keys:
        g.add("one size", setting.single[0], (x, y + 140), (260, 110), setting.single[1], "Size")
    g.add("ksampler", "KSampler", (x + 300, y), (300, 270),
          [7, "fixed", 6, setting.cfg, "euler", "simple", 1.0], model="use.MODEL",
          positive=f"{prompt}.CONDITIONING", negative="negative.CONDITIONING",
          latent_image="one size.LATENT")
    g.add("decoded", "VAEDecode", (x + 640, y), (180, 60), samples="ksampler.LATENT",
          vae="checkpoint.VAE")
    g.add("picture", "SaveImage", (x + 900, y), (320, 300), ["solver_search/ksampler"],
          "KSampler with Use Solver", images="decoded.IMAGE")


def _custom(g: Outline, setting: Setting, solver: str, at: tuple[int, int],
            prompt: str) -> None:
    x, y = at
    g.add("pair", "SolverSearch_Sampler", (x, y), (260, 80), solver=solver)
    g.add("noise", "RandomNoise", (x, y + 170), (260, 90), [7, "fixed"])
    g.add("guider", "CFGGuider", (x, y + 310), (260, 110), [setting.cfg],
          model="checkpoint.MODEL", positive=f"{prompt}.CONDITIONING",
          negative="negative.CONDITIONING")
    g.add("custom", "SamplerCustomAdvanced", (x + 300, y), (300, 140), noise="noise.NOISE",
          guider="guider.GUIDER", sampler="pair.SAMPLER", sigmas="pair.SIGMAS",
          latent_image="one size.LATENT")
    g.add("custom decoded", "VAEDecode", (x + 640, y), (180, 60), samples="custom.output",
          vae="checkpoint.VAE")
    g.add("custom picture", "SaveImage", (x + 900, y), (320, 300), ["solver_search/custom"],
          "SamplerCustomAdvanced with Solver Sampler", images="custom decoded.IMAGE")


TITLES = {
    "Fast sampling in few steps": use_a_preset,
    "Speed without Turbo or Lightning LoRA": quick_search,
    "Solver search with sampler comparison": search_and_compare,
    "Compare fast samplers": compare_solvers,
}
"""A template's file name is all that ComfyUI shows and searches: a title in words people use."""


def examples() -> dict[Path, str]:
    """Every example's path and JSON text."""
    packs = ((ARTISTS, FOR_ARTISTS, ""), (DEMO, FOR_DEMO, "Demo - "))
    return {folder / f"{prefix}{title}.json": json.dumps(maker(setting), indent=1) + "\n"
            for folder, setting, prefix in packs for title, maker in TITLES.items()}


if __name__ == "__main__":
    for path, text in examples().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
