"""The icons model without its weights: its words, its noise levels, and what training asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import icons, quality, train_icons
from benchmarks.cells import Cell
from benchmarks.loading import pack, prompts
from demo.architectures import build_vae
from demo.comfy_nodes.words import EMPTY, word_vector
from demo.comfyui import load_comfy


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file that training writes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("icons") / "bench_icons.safetensors"
    unet = icons.build_unet()
    torch.nn.init.normal_(unet.out[2].weight, std=0.02)  # begins at zero
    train_icons.write(unet, build_vae(icons.CHANNELS), path)
    return path


def test_prompts_of_searches_and_measurements_share_no_name() -> None:
    names = [{p.split(", ")[2] for p in icons.icon_prompts(part)} for part in (
        "search", "held_out")]
    assert [len(n) for n in names] == [48, 48]
    assert not names[0] & names[1]


def test_a_word_stands_at_its_place_and_silence_at_the_others() -> None:
    (row,) = icons.token_rows(["noto, mint"])
    assert torch.equal(row[1], word_vector("mint", icons.CONTEXT))
    assert torch.equal(row[2:], word_vector(EMPTY, icons.CONTEXT).expand(6, -1))
    with pytest.raises(ValueError, match="at most 8 words"):
        icons.token_rows(["one two three four five six seven eight nine"])


def test_without_its_weights_it_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="benchmarks.train_icons"):
        icons.icons_model(tmp_path / "none.safetensors")


def test_it_is_a_v_model_and_its_answer_is_the_network_s(checkpoint: Path) -> None:
    """D = alpha^2 x - alpha sigma v, v = network(alpha x), alpha = 1 / sqrt(1 + sigma^2)."""
    model = icons.icons_model(checkpoint)
    assert pack("nodes.comfy_bridge.model").facts(model).prediction == "v"
    sigma = torch.tensor(2.0)
    alpha = (1 + sigma**2).rsqrt()

    def both(trial: Any) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
        session, x = trial.session, trial.starts
        context = prompts(model, icons.icon_prompts("held_out")[:2])[0][0]
        time = session.sampling.timestep(sigma).float().expand(2)
        v = model.model.diffusion_model(alpha * x, time, context=context)
        return session.denoise(x, sigma, trial.items), alpha**2 * x - alpha * sigma * v

    cell = Cell("bench_icons", model, 1.0, seeds=2, batch=2,
                prompts=icons.icon_prompts("held_out")[:2])
    found, wanted = cell.measure(both)
    assert torch.allclose(found, wanted, atol=1e-5)  # float32, values of 10


def test_the_loss_is_least_at_the_velocity_of_the_data() -> None:
    """One icon, white as its ground: then the best v is known in closed form."""
    white = torch.full((1, 4, 64, 64), 255, dtype=torch.uint8)
    colours = torch.ones(len(icons.BACKGROUNDS), 3), torch.zeros(8, icons.CONTEXT)
    one = train_icons.Icons(white, torch.zeros(1, 7, icons.CONTEXT), colours)
    clean = torch.randn(1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).half()
    loss = train_icons.velocity_loss(one, clean, torch.zeros(1, 1, dtype=torch.long), 64)
    levels = load_comfy("comfy.model_sampling").ModelSamplingDiscrete()

    def exact(x: torch.Tensor, time: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        sigma = levels.sigma(time)[:, None, None, None]
        alpha = (1 + sigma**2).rsqrt()
        noise = (x / alpha - clean[0].float()) / sigma
        assert context.shape == (64, icons.WORDS, icons.CONTEXT)
        return alpha * (noise - sigma * clean[0].float())

    right = loss(exact, torch.Generator().manual_seed(2))["loss"]
    wrong = loss(lambda x, t, context: 0 * x, torch.Generator().manual_seed(2))["loss"]
    assert right < 1e-6 < 0.1 < wrong  # float32; the smallest sigma is 0.03


def test_seeds_elsewhere_are_counted_and_broken_ones_are() -> None:
    errors = torch.tensor([0.1, 0.5, 0.6, float("nan")])
    assert quality.share_elsewhere(errors) == 0.5
