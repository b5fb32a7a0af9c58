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
}


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

    def graph(self) -> dict[str, Any]:
        """The workflow as the front end saves it."""
        return {"last_node_id": len(self.nodes), "last_link_id": len(self.links),
                "nodes": self.nodes, "links": self.links, "groups": [], "config": {},
                "extra": {}, "version": 0.4}


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
    texts = {"positive": setting.prompts[0], "negative": setting.negative}
    if compare:
        texts["other prompts"] = setting.prompts[1]
    for row, (key, text) in enumerate(texts.items()):
        kind = "SolverSearchDemo_Prompt" if setting.demo else "CLIPTextEncode"
        wires = {"model": "checkpoint.MODEL"} if setting.demo else {"clip": "checkpoint.CLIP"}
        outline.add(key, kind, (370, 40 + row * 210), (380, 170), [text], key.capitalize(),
                    **wires)


def search_a_solver(setting: Setting) -> dict[str, Any]:
    """Search, compare on other prompts, and sample through both sampler nodes."""
    g = Outline()
    _model(g, setting, compare=True)
    g.add("size", setting.latent[0], (0, 300), (320, 110), setting.latent[1], "Size, batch")
    g.add("search", "SolverSearch_Search", (800, 40), (380, 620),
          [6, "fit", setting.effort, 0, "", setting.cfg], latent="size.LATENT",
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING")
    everything = "all built-in samplers and schedules"
    g.add("compare", "SolverSearch_Compare", (1240, 40), (620, 620),
          [setting.cfg, setting.seeds, 1000, everything], solver="search.solver",
          model="checkpoint.MODEL", positive="other prompts.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE", latent="size.LATENT")
    g.add("sheet", "SaveImage", (2100, 40), (420, 340), ["solver_search/contact_sheet"],
          "Contact sheet", images="compare.sheet")
    g.add("plot", "SaveImage", (2100, 430), (420, 300), ["solver_search/solver"],
          "Plot of the solver", images="search.plot")
    _ksampler(g, setting, "search.solver", (800, 720))
    _custom(g, setting, "search.solver", (800, 1080))
    return g.graph()


def use_a_preset(setting: Setting) -> dict[str, Any]:
    """Load a preset and sample with it through KSampler."""
    g = Outline()
    _model(g, setting, compare=False)
    g.add("load", "SolverSearch_Load", (370, 470), (380, 200),
          ["(best for the connected model)", 0], model="checkpoint.MODEL")
    _ksampler(g, setting, "load.solver", (800, 120))
    return g.graph()


def compare_solvers(setting: Setting) -> dict[str, Any]:
    """Compare a preset with ComfyUI's own samplers."""
    g = Outline()
    _model(g, setting, compare=False)
    g.add("size", setting.latent[0], (0, 300), (320, 110), setting.latent[1], "Size, batch")
    g.add("load", "SolverSearch_Load", (370, 470), (380, 200),
          ["(best for the connected model)", 0], model="checkpoint.MODEL")
    g.add("compare", "SolverSearch_Compare", (800, 40), (620, 620),
          [setting.cfg, 16, 1000, "popular samplers, all schedules"], solver="load.solver",
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING", vae="checkpoint.VAE", latent="size.LATENT")
    g.add("sheet", "SaveImage", (1470, 40), (420, 340), ["solver_search/contact_sheet"],
          "Contact sheet", images="compare.sheet")
    return g.graph()


def _ksampler(g: Outline, setting: Setting, solver: str, at: tuple[int, int]) -> None:
    x, y = at
    g.add("use", "SolverSearch_Use", (x, y), (260, 80), model="checkpoint.MODEL", solver=solver)
    g.add("one size", setting.single[0], (x, y + 140), (260, 110), setting.single[1], "Size")
    g.add("ksampler", "KSampler", (x + 300, y), (300, 270),
          [7, "fixed", 6, setting.cfg, "euler", "simple", 1.0], model="use.MODEL",
          positive="positive.CONDITIONING", negative="negative.CONDITIONING",
          latent_image="one size.LATENT")
    g.add("decoded", "VAEDecode", (x + 640, y), (180, 60), samples="ksampler.LATENT",
          vae="checkpoint.VAE")
    g.add("picture", "SaveImage", (x + 860, y), (320, 300), ["solver_search/ksampler"],
          "KSampler with Use Solver", images="decoded.IMAGE")


def _custom(g: Outline, setting: Setting, solver: str, at: tuple[int, int]) -> None:
    x, y = at
    g.add("pair", "SolverSearch_Sampler", (x, y), (260, 80), solver=solver)
    g.add("noise", "RandomNoise", (x, y + 130), (260, 90), [7, "fixed"])
    g.add("guider", "CFGGuider", (x, y + 270), (260, 110), [setting.cfg],
          model="checkpoint.MODEL", positive="positive.CONDITIONING",
          negative="negative.CONDITIONING")
    g.add("custom", "SamplerCustomAdvanced", (x + 300, y), (300, 140), noise="noise.NOISE",
          guider="guider.GUIDER", sampler="pair.SAMPLER", sigmas="pair.SIGMAS",
          latent_image="one size.LATENT")
    g.add("custom decoded", "VAEDecode", (x + 640, y), (180, 60), samples="custom.output",
          vae="checkpoint.VAE")
    g.add("custom picture", "SaveImage", (x + 860, y), (320, 300), ["solver_search/custom"],
          "SamplerCustomAdvanced with Solver Sampler", images="custom decoded.IMAGE")


def examples() -> dict[Path, str]:
    """Every example's path and JSON text."""
    makers = (search_a_solver, use_a_preset, compare_solvers)
    return {folder / f"{maker.__name__}.json": json.dumps(maker(setting), indent=1) + "\n"
            for folder, setting in ((ARTISTS, FOR_ARTISTS), (DEMO, FOR_DEMO))
            for maker in makers}


if __name__ == "__main__":
    for path, text in examples().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
