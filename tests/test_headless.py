"""The headless command in this process: what it loads, finds again, stops, says and returns."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from .conftest import ROOT
from .matrix.families import FAMILIES
from .pack import load
from .small_door import small
from .world import FLOW, World, latent, prompt

CHECKPOINT = ROOT / "demo" / "checkpoints" / f"{FLOW}.safetensors"
SOUNDS = ("ACE-Step", "Stable Audio")
LINES = "# a comment\ncat, night\nhorse, warm\n\neye, mint\n"


class Heard:
    """A teller that remembers, and once does something at an event like this."""

    def __init__(self, at: str = "", then: Callable[[], None] = lambda: None,
                 **like: object) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.states: list[dict[str, Any]] = []
        self.at, self.then, self.like = at, then, like

    def tell(self, event: str, lines: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401
        self.events.append((event, json.loads(json.dumps(more))))
        if event == self.at and self.like.items() <= more.items():
            self.at = ""
            self.then()

    def progress(self, state: dict[str, Any]) -> None:
        self.states.append(state)

    def close(self) -> None:
        """Nothing to close."""

    def all(self, event: str) -> list[dict[str, Any]]:
        return [more for kind, more in self.events if kind == event]


@pytest.fixture
def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of 300 model calls at most, on a server of no one."""
    load("headless.comfyui").load_pack(str(ROOT / "demo" / "comfy_nodes"))
    for table, name, value in small(load):
        monkeypatch.setitem(table, name, value)


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a search of the demo model, and more."""
    lines = tmp_path / "prompts.txt"
    lines.write_text(LINES, "utf-8")

    def arguments(*more: str, steps: str = "4") -> list[str]:
        return ["search", "--checkpoint", str(CHECKPOINT), "--prompts", str(lines), "--encoder",
                "SolverSearchDemo_Prompt", "--cfg", "2.5", "--size", "64x64", "--batch", "12",
                "--effort", "quick", "--steps", steps, "--out", str(tmp_path / "out"), *more]
    return arguments


def do(arguments: list[str], heard: Heard) -> int:
    """As door.main, without starting ComfyUI again."""
    options, _ = load("headless.door").understood(arguments)
    load("headless.request").check(options)
    listener = load("headless.signals").Listener()
    with listener.listening():
        return load("headless.job").run_job(options, heard, load("headless.clock").Clock(),
                                            listener)


def refused(arguments: list[str]) -> Any:  # noqa: ANN401
    with pytest.raises(load("headless.exits").Refusal) as caught:
        do(arguments, Heard())
    return caught.value


def presets(folder: Path) -> dict[int, Any]:
    read = load("presets.store").read
    return {p.solver.nfe: p for p in map(read, sorted(folder.glob("*.safetensors")))}


def key_of_the_node(model: Any, steps: list[int]) -> str:  # noqa: ANN401
    """Of the same request, made with the Search Solver node."""
    session, config = load("nodes.comfy_bridge.session"), load("solver_search.config")
    guider = session.make_guider(model, prompt(FLOW, "cat, night"), prompt(FLOW), 2.5)
    return load("nodes.found").search_key(guider, latent(FLOW, 12)["samples"],
                                          config.SearchConfig(steps[0], "fit", "quick"), steps)


def test_a_job_is_done_once_and_only_what_is_missing_later(
        quick: None, asked: Callable, tmp_path: Path, models: dict) -> None:
    heard, out, own = Heard(), tmp_path / "out", load("nodes.comfy_bridge.folders").own_folder()
    before = sorted(own.iterdir()) if own.is_dir() else []
    assert do(asked(steps="5, 4"), heard) == 0
    assert (sorted(own.iterdir()) if own.is_dir() else []) == before  # it writes into --out alone
    assert heard.events[0][0] == "start" and heard.events[-1][0] == "end"
    end, first = heard.all("end")[0], presets(out)
    assert sorted(first) == [4, 5] and end["state"] == "done"
    report = json.loads(Path(end["report"]).read_text("utf-8"))
    assert report["solver_search_report"] == 1 and report["exit"] == 0
    assert [p["id"] for p in report["presets"]] == [first[5].id, first[4].id]
    assert report["calls"]["searched"] <= report["calls"]["estimated"]
    assert 0 < report["seconds"]["in_network"] < report["seconds"]["search"]
    assert report["request"]["cfg"] == 2.5 and report["model"]["family"] == "SD3"
    assert first[5].info.search_key == key_of_the_node(models[FLOW], [5, 4])
    assert first[4].info.picture and first[4].info.prompts == 2

    heard = Heard()
    assert do(asked(steps="5, 4"), heard) == 0
    assert heard.all("end")[0]["state"] == "found" and not heard.states
    assert json.loads(Path(end["report"]).read_text("utf-8")) == report  # not overwritten

    heard = Heard()
    assert do(asked(steps="4, 6, 5"), heard) == 0
    now = presets(out)
    assert sorted(now) == [4, 5, 6] and heard.all("found")[0]["missing"] == [6]
    assert {n: now[n].id for n in (4, 5)} == {n: first[n].id for n in (4, 5)}
    named = [p["steps"] for p in json.loads(Path(end["report"]).read_text("utf-8"))["presets"]]
    assert named == [4, 6, 5]
    heard = Heard()
    assert do(asked("--dry-run", steps="4, 5, 6"), heard) == 0
    assert heard.all("end")[0]["state"] == "found"


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_keeps_the_best_and_the_next_start_goes_on(
        quick: None, asked: Callable, tmp_path: Path) -> None:
    """Stopped while it searches, and again when the first of two presets is measured."""
    out, arguments = tmp_path / "out", asked("--name", "mine", "--install", steps="4, 5")
    heard = Heard("saved", terminate)
    assert do(arguments, heard) == 0
    end, = heard.all("end")
    assert end["state"] == "stopped" and end["installed"] == []
    first, = presets(out).values()
    assert first.info.state == "unfinished" and list(out.rglob("*.journal"))

    heard = Heard("saved", terminate, state="measured")
    assert do([*arguments, "--stopped-exit", "75"], heard) == 75
    states = {n: preset.info.state for n, preset in presets(out).items()}
    assert sorted(states.values()) == ["", "unfinished"] and heard.all("resumed")

    heard = Heard()
    assert do(arguments, heard) == 0
    resumed, = heard.all("resumed")
    assert resumed["calls"] >= 300 and not heard.all("found")
    files = sorted(path.name for path in out.iterdir())
    assert files == ["mine 4 steps.safetensors", "mine 5 steps.safetensors", "mine.json"]
    assert {preset.info.state for preset in presets(out).values()} == {""}
    own, read = load("nodes.comfy_bridge.folders").own_folder(), load("presets.store").read
    assert read(own / "mine 4 steps.safetensors").id == presets(out)[4].id


def test_a_signal_before_there_is_anything_is_told(quick: None, asked: Callable) -> None:
    heard = Heard("model", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(load("headless.exits").Stopped):
        do(asked(), heard)


def test_a_second_signal_ends_at_once_but_not_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    signals, asked = load("headless.signals"), []
    clock = iter([100.0, 101.0, 110.0])
    monkeypatch.setattr(signals.time, "monotonic", lambda: next(clock))
    listener = signals.Listener()
    listener.stop = lambda: asked.append(True) or True
    with listener.listening():
        terminate()
        terminate()
        with pytest.raises(load("headless.exits").Stopped):
            terminate()
    assert asked == [True]


def test_what_cannot_be_is_refused_with_its_code(quick: None, asked: Callable,
                                                 tmp_path: Path) -> None:
    code = load("headless.exits").Exit
    cases = {
        ("--steps", "1"): (code.REQUEST, "from 2 to 32"),
        ("--cfg-to", "2"): (code.REQUEST, "above cfg"),
        ("--size", "60x64"): (code.REQUEST, "multiples of 8"),
        ("--frames", "5"): (code.REQUEST, "makes pictures"),
        ("--negative", "dragon"): (code.REQUEST, "do not know dragon"),
        ("--encoder", "CLIPTextEncode"): (code.MODEL, "no text encoder"),
        ("--encoder", "Nobody"): (code.REQUEST, "no node 'Nobody'"),
        ("--lora", "missing:0.5"): (code.REQUEST, "no file missing"),
        ("--name", "a/b"): (code.REQUEST, "Folders and accents"),
        ("--prompts", str(tmp_path)): (code.REQUEST, "cannot be read"),
        ("--checkpoint", str(tmp_path / "prompts.txt")): (code.MODEL, "could not load it"),
    }
    for more, (expected, words) in cases.items():
        refusal = refused(asked(*more))
        assert refusal.code == expected and words in str(refusal), (more, str(refusal))
    (tmp_path / "file").write_text("", "utf-8")
    assert refused(asked("--out", str(tmp_path / "file"))).code == code.SAVING


def test_too_little_memory_has_its_own_code_and_a_report(
        quick: None, asked: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(load("nodes.comfy_bridge.session").Session, "_call", full)
    assert refused(asked("--name", "full")).code == load("headless.exits").Exit.MEMORY
    report = json.loads((tmp_path / "out" / "full.json").read_text("utf-8"))
    assert (report["exit"], report["state"], report["presets"]) == (4, "failed", [])
    assert "not enough memory" in report["errors"][0]


def test_the_cost_is_told_without_searching(quick: None, asked: Callable, tmp_path: Path) -> None:
    heard = Heard()
    assert do(asked("--dry-run"), heard) == 0
    estimate, = heard.all("estimate")
    assert estimate["calls"] >= 300 and estimate["seconds"] > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SOUNDS])
def test_the_empty_latent_is_that_of_the_family(world: World, name: str) -> None:
    subject = FAMILIES[name].build()
    if getattr(subject.latent, "is_nested", False):
        pytest.skip("several media have no size of one picture")
    latents = subject.model.get_model_object("latent_format")
    ratio = latents.spacial_downscale_ratio
    made = load("headless.canvas").empty(subject.model, 8 * ratio, 6 * ratio, 1, 2)["samples"]
    assert made.shape[:2] == (2, latents.latent_channels) and made.shape[-2:] == (6, 8)
    assert made.ndim == latents.latent_dimensions + 2


def test_sounds_are_left_to_the_node(world: World) -> None:
    model = FAMILIES["Stable Audio"].build().model
    with pytest.raises(load("headless.exits").Refusal, match="makes sounds"):
        load("headless.canvas").empty(model, 64, 64, 1, 1)


@pytest.mark.parametrize(("module", "node", "family"), [
    ("nodes_hunyuan", "EmptyHunyuanLatentVideo", "Wan21"), ("nodes_mochi",
    "EmptyMochiLatentVideo", "Mochi"), ("nodes_lt", "EmptyLTXVLatentVideo", "LTXV"),
    ("nodes_cosmos", "EmptyCosmosLatentVideo", "Cosmos1CV8x8x8"),
    ("nodes_flux", "EmptyFlux2LatentImage", "Flux2"), ("nodes_sd3", "EmptySD3LatentImage", "SD3")])
def test_sizes_are_those_of_comfyuis_own_nodes(world: World, module: str, node: str,
                                               family: str) -> None:
    import comfy.latent_formats

    class Model:
        def get_model_object(self, name: str) -> Any:  # noqa: ANN401
            return getattr(comfy.latent_formats, family)()

    comfyui = load("headless.comfyui")
    comfyui.EXTRAS = {**comfyui.EXTRAS, node: module}
    video = Model().get_model_object("").latent_dimensions == 3
    length = {"length": 25} if video else {}
    theirs = comfyui.run_node(node, width=256, height=192, batch_size=2, **length)[0]["samples"]
    ours = load("headless.canvas").empty(Model(), 256, 192, 25 if video else 1, 2)["samples"]
    assert ours.shape == theirs.shape


def test_the_words_of_the_command_line_are_those_of_the_engine() -> None:
    request, config = load("headless.request"), load("solver_search.config")
    assert request.METHODS == tuple(config.METHODS)
    assert request.EFFORTS == tuple(config.EFFORTS)


def test_a_manifest_is_the_command_line_in_json(tmp_path: Path) -> None:
    manifest, door = tmp_path / "jobs.jsonl", load("headless.door")
    manifest.write_text('# two\n{"checkpoint": "a b.safetensors", "steps": [5, 6], "again": true, '
                        '"lora": ["x:0.5", "y"]}\n\n{"model": "m.gguf", "size": "64x32", '
                        '"cfg-to": 7, "negative": "-ugly"}\n', "utf-8")
    many, comfy = door.understood(["search", "--manifest", str(manifest), "--cfg", "3", "--out",
                                   "o", "--", "--cpu"])
    one, two = (job.options for job in many.jobs)
    assert comfy == ["--cpu"] and (one.cfg, two.cfg, two.cfg_to) == (3, 3, 7)
    assert (one.steps, one.again, one.lora) == ("5,6", True, ["x:0.5", "y"])
    assert (two.size, two.negative, two.again) == ((64, 32), "-ugly", False)
    second, _ = door.understood(["search", "--manifest", str(manifest), "--only", "2"])
    assert second.model == "m.gguf"
    for line, words in (('{"steps": null}', "line 1: steps must be"), ("[1]", "an object"),
                        ("{", "no JSON"), ('{"stepz": 4}', "Job 1: Unrecognized"), ("", "no job")):
        manifest.write_text(line, "utf-8")
        with pytest.raises(load("headless.exits").Refusal, match=words):
            door.understood(["search", "--manifest", str(manifest)])


def test_lines_are_json_and_the_last_says_how_it_ended(tmp_path: Path) -> None:
    import io

    stream = io.StringIO()
    stream.close = lambda: None
    lines = load("headless.telling").Lines(stream)
    lines.tell("end", lines=["for people"], exit=0)
    said = json.loads(stream.getvalue())
    assert said.pop("time") > 0 and said == {"event": "end", "exit": 0}


def test_presets_are_shown_measured_and_compared(quick: None, asked: Callable,
                                                 tmp_path: Path) -> None:
    preset = ROOT / "demo" / "presets" / "Demo flow 6 steps.safetensors"
    door = load("headless.door")
    options, _ = door.understood(["show", str(preset), str(tmp_path / "none")])
    heard = Heard()
    assert options.run(options, [], heard, None) == 2
    shown, = heard.all("preset")
    assert shown["steps"] == 6 and len(shown["solver"]["sigmas"]) == 7 and heard.all("error")

    model = asked()[1:7]
    for command, more in (("measure", []), ("compare", ["--out", str(tmp_path / "sheet")])):
        options, _ = door.understood([command, str(preset), *model, "--seeds", "2", "--cfg", "2.5",
                                      "--size", "64x64", "--batch", "2", *more])
        heard = Heard()
        assert getattr(load("headless.measuring"), command)(options, heard) == 0
        end, = heard.all("end")
        assert end["state"] == "done" and end["size"] == [64, 64]
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {
        "comparison.json", "contact_sheet.png"}
    rows = json.loads((tmp_path / "sheet" / "comparison.json").read_text("utf-8"))["rows"]
    assert rows[-1]["label"] == "Demo flow 6 steps" and rows[-1]["calls"] == 6


def parts_of_the_demo(folder: Path) -> dict[str, Path]:
    """The demo checkpoint as a diffusion model and a VAE, a LoRA, and a CLIP-L of which only one
    layer is in the file: ComfyUI then leaves the others as they are."""
    from safetensors.torch import load_file, save_file

    whole = load_file(CHECKPOINT)
    vae = {k.removeprefix("first_stage_model."): v for k, v in whole.items() if "first_stage" in k}
    layer = "diffusion_model.joint_blocks.0.x_block.attn.qkv"
    width = whole[f"model.{layer}.weight"].shape
    parts = {"model": {k: v for k, v in whole.items() if "diffusion_model" in k}, "vae": vae,
             "lora": {f"{layer}.lora_A.weight": torch.ones(1, width[1]),
                      f"{layer}.lora_B.weight": torch.ones(width[0], 1)},
             "clip": {"text_model.encoder.layers.0.mlp.fc1.weight": torch.ones(3072, 768)}}
    for name, tensors in parts.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in parts}


def test_parts_are_loaded_by_comfyuis_own_nodes(quick: None, asked: Callable,
                                                tmp_path: Path) -> None:
    parts, door = parts_of_the_demo(tmp_path), load("headless.door")
    arguments = [word for word in asked() if word not in ("--checkpoint", str(CHECKPOINT))]
    options, _ = door.understood([
        *arguments, "--model", str(parts["model"]), "--vae", str(parts["vae"]), "--lora",
        f"{parts['lora']}:0.5", "--shift", "5", "--text-encoder", str(parts["clip"]),
        "--clip-type", "stable_diffusion"])
    loading = load("headless.loading")
    loaded = loading.load(options)
    known = load("nodes.comfy_bridge.model").facts(loaded.model)
    assert (known.family, known.shift, known.file_name) == ("SD3", 5.0, "model.safetensors")
    patch, = next(iter(loaded.model.patches.values()))
    assert len(loaded.model.patches) == 1 and patch[0] == 0.5
    assert loaded.vae is not None
    options.encoder = "CLIPTextEncode"
    [(tensor, about)] = loading.encode(loaded, "a cat", options)
    assert tensor.shape == (1, 77, 768) and "pooled_output" in about
    options.distilled_guidance = 2.0
    assert loading.encode(loaded, "a cat", options)[0][1]["guidance"] == 2.0
    for name, value, words in (("clip_type", "nope", "one of stable_diffusion"),
                               ("model", "m.gguf", "no file m.gguf"),
                               ("text_encoder", ["a"] * 5, "at most 4")):
        with pytest.raises(load("headless.exits").Refusal, match=words):
            loading.load(type(options)(**{**vars(options), name: value}))
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(load("headless.exits").Refusal, match="needs the pack ComfyUI-GGUF"):
        loading.load(type(options)(**{**vars(options), "model": str(tmp_path / "m.gguf")}))


def test_run_py_hands_over_what_is_for_the_command_and_for_comfyui(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import run

    given: list[tuple[list[str], Path | None]] = []
    monkeypatch.setattr(run, "_prepare", lambda options: Path("python"))
    monkeypatch.setattr(run, "hand_over", lambda *what: given.append((*what, None)[:2]) or 0)
    for words in (["search", "--steps", "5", "--", "--lowvram"],
                  ["show", "--comfyui", str(tmp_path), "a"], ["serve", "--", "--cpu"]):
        monkeypatch.setattr(run.sys, "argv", ["run.py", *words])
        run.main()
    (search, where), (show, _), (serve, root) = given
    assert search[1:5] == [str(ROOT / "headless"), "search", "--steps", "5"] and where is None
    assert search[5:7] == ["--", "--base-directory"] and search[-1] == "--lowvram"
    assert show[1:] == [str(ROOT / "headless"), "show", "a", "--"]
    assert serve == ["python", "-m", "launch.serve", "--cpu"] and root == ROOT
