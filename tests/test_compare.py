"""Compare Solvers: who is nearer, by how much, and what the built-in needs for the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from .world import FLOW, ROOT, World, latent, prompt

SEEDS = 10
POPULAR = "popular samplers, all schedules"
NAME = "Demo flow 6 steps"


class Vae:
    """Three channels of a latent as colours."""

    @staticmethod
    def decode(samples: Tensor) -> Tensor:
        return samples[:, :3].movedim(1, -1).float() / 4 + 0.5


@pytest.fixture(autouse=True, scope="module")
def few_samplers(world: World) -> Iterator[None]:
    """Three samplers are the popular ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.module("nodes.contenders"), "POPULAR_SAMPLERS",
                      ("euler", "dpmpp_2m", "uni_pc_bh2"))
        yield


@pytest.fixture(scope="module")
def ours(world: World) -> Any:  # noqa: ANN401
    return world.module("presets.store").read(ROOT / "demo" / "presets" / f"{NAME}.safetensors")


def euler(world: World, preset: Any, steps: int = 6) -> Any:  # noqa: ANN401
    """The same preset with another solver, which lands far away."""
    made = world.module("solver_search.tableaus").TABLEAUS["euler"](
        torch.linspace(1, 0, steps + 1).double(), flow=True)
    info = world.module("presets.preset").PresetInfo(
        name=f"euler {steps}", prediction="flow", shift=1.0)
    return world.module("presets.preset").Preset(made, info)


def compare(world: World, model: Any, solver: Any, **more: Any) -> Any:  # noqa: ANN401
    given = {"cfg": 2.5, "seeds": SEEDS, "seed": 1000, "opponents": POPULAR, "vae": Vae(),
             "positive": prompt(FLOW, "cat, night"), "negative": prompt(FLOW),
             "latent": latent(FLOW), **more}
    with torch.inference_mode():
        return world.of("Compare").execute(solver=solver, model=model, **given)


@pytest.fixture(scope="module")
def bar() -> list[tuple[float, float]]:
    return []


@pytest.fixture(scope="module")
def found(world: World, models: dict, ours: Any,  # noqa: ANN401
          bar: list[tuple[float, float]]) -> Iterator[Any]:
    """Euler first, then ours: the order of the inputs is not that of the errors."""
    screen = world.module("nodes.comfy_bridge.screen").Screen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "progress", lambda self, done, total: bar.append((done, total)))
        yield compare(world, models[FLOW], euler(world, ours), solver_2=ours)


@pytest.fixture(scope="module")
def shown(found: Any) -> dict[str, Any]:  # noqa: ANN401
    return found.ui["solver_search"][0]


def rows(found: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    return json.loads(found.ui["table"][0])["rows"]


def test_tiles_come_in_the_order_of_the_inputs(shown: dict) -> None:
    tiles = shown["compare"]["tiles"]
    assert [tile["kind"] for tile in tiles] == ["reference", "builtin", "solver", "solver"]
    assert [tile["label"] for tile in tiles[2:]] == ["euler 6", NAME]
    assert [tile["calls"] for tile in tiles] == [100, 6, 6, 6]
    assert (shown["compare"]["seeds"], shown["compare"]["reference_calls"]) == (SEEDS, 100)


def test_each_picture_belongs_to_its_error(found: Any, shown: dict) -> None:  # noqa: ANN401
    import folder_paths

    numbers = shown["compare"]["shown"]
    assert len(numbers) == 8 and numbers == sorted(set(numbers))
    temp = Path(folder_paths.get_temp_directory())
    reference, *others = shown["compare"]["tiles"]

    def pixels(entry: dict) -> Tensor:
        assert entry["type"] == "temp"
        with Image.open(temp / entry["subfolder"] / entry["filename"]) as image:
            return torch.tensor(list(image.convert("RGB").getdata())).float()
    for tile, row in zip(others, rows(found), strict=True):
        assert tile["errors"] == [row["errors"][number] for number in numbers]
        apart = [float((pixels(a) - pixels(b)).square().mean())
                 for a, b in zip(reference["images"], tile["images"], strict=True)]
        furthest = max(range(8), key=lambda i: tile["errors"][i])
        assert apart[furthest] > sorted(apart)[3]  # what lands furthest looks it, too
    names = [entry["filename"] for tile in shown["compare"]["tiles"] for entry in tile["images"]]
    assert len(set(names)) == 4 * 8


def test_the_worst_seeds_of_ours_are_shown(found: Any, shown: dict) -> None:  # noqa: ANN401
    errors = rows(found)[-1]["errors"]
    worst = sorted(range(SEEDS), key=lambda seed: -errors[seed])[:4]
    assert set(worst) <= set(shown["compare"]["shown"])


def test_the_verdict_names_who_is_closer_and_the_sentence_says_more(found: Any,  # noqa: ANN401
                                                                    shown: dict) -> None:
    builtin, _, best = rows(found)
    gap = f"{1 - best['error'] / builtin['error']:.0%} closer"
    assert shown["verdict"].startswith(f"'{NAME}' lands {gap}")
    assert builtin["label"] in shown["verdict"]
    said = shown["compare"]["sentence"]
    nearer = sum(a < b for a, b in zip(best["errors"], builtin["errors"], strict=True))
    assert f"nearer on {nearer} of {SEEDS} seeds" in said
    assert "%" not in said and "seeds" not in shown["verdict"]
    assert "for the same" in said
    assert found.ui["text"][0].startswith(shown["verdict"])
    assert found.args[1].startswith("sampler")


def test_the_bar_moves_all_the_time_and_ends_full(found: Any,  # noqa: ANN401
                                                  bar: list[tuple[float, float]]) -> None:
    done = [value for value, _ in bar]
    assert len({total for _, total in bar}) == 1
    assert done == sorted(done) and done[-1] == bar[-1][1]
    assert done[-2] > 0.5 * done[-1]  # what was planned is about what was needed
    assert max(b - a for a, b in zip(done[:-2], done[1:-1], strict=True)) < 0.02 * done[-1]


def test_a_built_in_that_wins_is_said_to_win(world: World, models: dict,
                                             ours: Any) -> None:  # noqa: ANN401
    found = compare(world, models[FLOW], euler(world, ours), seeds=4)
    data = found.ui["solver_search"][0]
    assert data["verdict"].startswith("The best built-in (")
    assert "'euler 6'" in data["verdict"]
    assert data["compare"]["sentence"].endswith(" of 4 seeds.")


def test_a_preset_of_another_kind_of_model_is_refused_before_anything_is_sampled(
        world: World, models: dict, ours: Any) -> None:  # noqa: ANN401
    other = world.module("presets.store").read(
        ROOT / "presets" / "library" / "DSS DiT VP 6.safetensors")
    with pytest.raises(ValueError, match="flow model") as caught:
        compare(world, models[FLOW], ours, solver_2=other)
    assert type(caught.value) is ValueError  # whose name ComfyUI shows without a module


def test_steps_are_added_until_the_built_in_is_as_near(world: World, models: dict) -> None:
    """Counted anew, and not further than three times as many."""
    module, nodes = world.module("nodes.contenders"), world.module("nodes.comfy_bridge.session")
    evidence = world.module("nodes.evidence")
    ordinary = world.module("nodes.comfy_bridge.ordinary")
    guider = nodes.make_guider(models[FLOW], prompt(FLOW, "cat, night"), prompt(FLOW), 2.5)

    def work(session: Any) -> tuple:  # noqa: ANN401
        starts = session.starts(torch.randn(4, 16, 8, 8, generator=torch.Generator()
                                            .manual_seed(3)))
        trial = evidence.make_trial(session, starts, torch.arange(4), 4)
        euler = {steps: next(s for s in ordinary.settings(session.sampling, steps, ["euler"])
                             if s.scheduler == "simple@3") for steps in range(4, 13)}
        errors = {steps: float(trial.setting(s, steps).errors.mean())
                  for steps, s in euler.items()}
        wanted = errors[7]
        expected = min(steps for steps in errors if steps > 4 and errors[steps] <= wanted)
        return (expected, module.steps_to_equal(trial, euler[4], wanted, 4),
                module.steps_to_equal(trial, euler[4], 0.0, 4))
    expected, equal, never = nodes.within(guider, latent(FLOW)["samples"], work, seed=3)
    assert (equal.steps, equal.calls) == (expected, expected)
    assert (never.steps, never.most) == (None, 12)
    needs = world.module("nodes.compared")._needs
    assert needs(never) == "; euler/simple@3 needs more than 12 steps for the same"
    assert needs(equal).endswith(f"needs {expected} steps for the same")


def test_shown_seeds_hold_the_worst_and_are_all_where_few(world: World) -> None:
    seeds_to_show = world.module("nodes.contenders").seeds_to_show
    errors = torch.zeros(20)
    errors[[3, 11, 15, 19]] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert seeds_to_show(errors) == [0, 1, 2, 3, 4, 11, 15, 19]
    assert seeds_to_show(torch.rand(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("builtin", "verdict"), [
    ([2.0, 4.0, 3.0], "'ours' lands 50% closer to the reference than the best built-in (b) at 6"),
    ([0.6, 1.5, 1.1], "The best built-in (b) lands 29% closer"),
    ([1.6, 1.9, 1.2], "Too close to call: 'ours' lands 4% closer")])
def test_chance_is_not_called_a_win(world: World, builtin: list[float],
                                    verdict: str) -> None:
    contenders = world.module("nodes.contenders")
    measured = world.module("nodes.evidence").Measured

    def way(label: str, errors: list[float], kind: str) -> Any:  # noqa: ANN401
        return contenders.Way(measured(label, torch.zeros(3), torch.tensor(errors), 6), kind)
    results = contenders.Results([way("b", builtin, "builtin"),
                                  way("ours", [1.0, 2.0, 1.5], "solver")], [], [], None)
    said = world.module("nodes.compared").verdict(results).verdict
    assert said.startswith(verdict)
