"""What the server says in English is known to web/js/sentences.js, so that a page can say it in
its own language."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from launch import locales
from launch.places import ROOT

from .pack import load
from .test_matching import facts, preset

SCRIPT = """
import { inPageWords } from "./web/js/sentences.js";
import { speak } from "./web/js/words.js";
let text = "";
for await (const chunk of process.stdin) text += chunk;
const { words, said } = JSON.parse(text);
speak(words);
console.log(JSON.stringify(said.map(inPageWords)));
"""
NAMES = ("my solver", "SDXL", "SD15", "dpmpp_2m, sgm_uniform", "euler", "a.safetensors",
         "b.safetensors", "Solver Search", "KSampler", "ModelSampling")
ENGLISH = re.compile(r"[A-Za-z]{3,} [a-z]{2,}")


@pytest.fixture(autouse=True)
def comfyui_there(comfy: ModuleType) -> None:
    """ComfyUI is imported."""


def in_page(said: list[str], words: dict[str, str]) -> list[str]:
    """What a page with these words makes of sentences."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js was not found")
    done = subprocess.run([node, "--input-type=module", "-e", SCRIPT], cwd=ROOT, text=True,
                          input=json.dumps({"words": words, "said": said}), capture_output=True,
                          check=True, timeout=60)
    return json.loads(done.stdout)


def verdicts() -> list[str]:
    """Every way in which a preset suits a model, with and without own figures."""
    matching, model = load("nodes.matching"), facts()
    mine = preset(name="my solver")
    own = replace(mine.info, error=0.4, baseline_error=0.8, error_interval=0.01,
                  baseline_interval=0.01)
    figures = [None, own, replace(own, error=0.9), replace(own, error=0.81)]
    presets = [mine, preset(model_name="b.safetensors"), preset(family="SDXL"),
               preset(state="unfinished"), preset(shift=3.0)]
    models = [model, replace(model, shift=5.0),
              facts(prediction="eps", sigma_max=14.6, shift=None)]
    return [line for one in presets for known in models for here in figures
            for line in matching.verdict(one, known, here).text.split("\n")]


def remarks() -> list[str]:
    """What is said of CFG scales, of the measured error and of searches."""
    words, report = load("presets.words"), load("nodes.report")
    info = preset(name="my solver").info
    measured = replace(info, guidance=5.0, error=0.4, baseline_error=0.8, baseline="euler",
                       held_out_seeds=64, error_interval=0.01, baseline_interval=0.01)
    ranges: list[dict[str, Any]] = [
        {}, {"guidance_low": 3.0, "guidance_high": 6.0},
        {"guidance_low": 5.0, "guidance_high": 5.0}, {"guidance_measured": "4 5 6"}]
    others = [measured, replace(measured, error=0.81), replace(measured, error=0.9),
              replace(measured, error=None), replace(measured, builtin="euler")]
    verdict = [report._verdict(replace(preset(), info=each)) for each in others]
    return [*verdict, *(words.promise(each, calls=6) for each in others[:4]),
            *(words.guidance_remark(replace(measured, **each), 7.0) for each in ranges)]


def of_samplers() -> list[str]:
    """What a sampler, Load Solver Preset and Search Solver say, and what stands for no preset."""
    speaking, place = load("nodes.comfy_bridge.remarks"), load("nodes.comfy_bridge.samplers").Place
    mine, part = preset(name="my solver"), load("solver_search.part").Part
    whole = part(mine.solver, "whole", 0, mine.solver.steps, 1.0)
    places = [place(name="euler"), place(name="euler", noisy=True), None]
    said = [line for each in places for line in speaking.remarks(
        mine, whole, 20, cfg=None, shift=None, place=each).text.split("\n")]
    unsearched = load("nodes.unsearched")
    loading = load("nodes.preset_nodes")
    return [*said, speaking.TOO_LARGE, unsearched.WORTH, unsearched.WORTH_FLOW,
            loading.CHOSEN_AGAIN, *load("nodes.telling").STAGES.values(),
            load("nodes.telling").MEASURING, load("nodes.telling").ELSEWHERE]


def everything() -> list[str]:
    return list(dict.fromkeys(filter(None, [*verdicts(), *remarks(), *of_samplers()])))


def test_what_nodes_say_is_said_in_chinese() -> None:
    words = locales.read("zh", "main.json")[locales.PAGE]
    said = everything()
    assert len(said) > 25
    left = {}
    for english, chinese in zip(said, in_page(said, words), strict=True):
        without = chinese
        for name in NAMES:
            without = without.replace(name, "")
        if ENGLISH.search(without):
            left[english] = chinese
    assert left == {}


def test_in_english_nothing_changes_and_what_is_unknown_stays() -> None:
    unknown = ["Something else. Made for this checkpoint. And more", "a: b", "", "no end"]
    said = [*everything(), *unknown]
    assert in_page(said, {}) == said
    mixed = in_page(unknown, {"Made for this checkpoint.": "X."})
    assert mixed == ["Something else. X. And more", *unknown[1:]]
