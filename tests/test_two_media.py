"""Nested latents, a video with its sound: each medium by itself, in sampling and in a search."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from solver_search.canvas import Canvas, channel_means
from solver_search.metrics import relative_errors

from .pack import load
from .world import World

VIDEO, SOUND = (3, 2, 4, 4), (2, 6, 3)
SIZES = (1.0, 20.0)
ROUNDING = 1e-5  # relative, float32 sums of a hundred numbers


class TwoMedia(nn.Module):
    """Gaussian data, video of size 1 around 1 and sound of size 20 around -20, as velocities.

    The flow of a Gaussian has a closed form, so that what is learned of each can be checked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
        sigma = t.reshape(-1, 1)
        parts = zip(Canvas((VIDEO, SOUND)).parts(x), SIZES, (1.0, -20.0), strict=True)
        found = [_velocity(part.flatten(1), sigma, size, mean) for part, size, mean in parts]
        return torch.cat(found, dim=1).reshape(x.shape)


def _velocity(x: Tensor, sigma: Tensor, size: float, mean: float) -> Tensor:
    """(x - D) / sigma for data of this size, bent a little so that no table is exact."""
    share = 1 - sigma
    spread = share**2 * size**2 + sigma**2
    denoised = mean + share * size**2 / spread * (x - share * mean)
    return (x - denoised - size * torch.sin(denoised / size)) / sigma


def model() -> Any:  # noqa: ANN401
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models

    config = comfy.supported_models.LTXAV({"disable_unet_model_creation": True,
                                           "image_model": "ltxav"})
    config.set_inference_dtype(torch.float32, None)
    made = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.FLUX, device="cpu",
                                      unet_model=None)
    made.diffusion_model = TwoMedia()
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(made, cpu, cpu)


def nest(*parts: Tensor) -> Any:  # noqa: ANN401
    import comfy.nested_tensor

    return comfy.nested_tensor.NestedTensor(parts)


def empty(batch: int) -> Any:  # noqa: ANN401
    return nest(torch.zeros(batch, *VIDEO), torch.zeros(batch, *SOUND))


def packed(count: int, seed: int = 0) -> Tensor:
    """(count, 1, N) states as ComfyUI hands them to samplers."""
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(count, *VIDEO, generator=generator)
    sound = 20 * torch.randn(count, *SOUND, generator=generator)
    return torch.cat([video.flatten(1), sound.flatten(1)], dim=1)[:, None]


def test_means_are_those_of_each_channel_of_each_medium() -> None:
    canvas, x = Canvas((VIDEO, SOUND)), packed(2)
    means = canvas.parts(canvas.means(x))
    for found, part in zip(means, canvas.parts(x), strict=True):
        assert torch.allclose(found, channel_means(part).expand(part.shape), rtol=ROUNDING)
    assert canvas.means(x).shape == x.shape


def test_an_error_in_either_medium_counts_the_same() -> None:
    canvas, reference = Canvas((VIDEO, SOUND)), packed(8)
    video = 96
    errors = []
    for share in (slice(0, video), slice(video, None)):
        x = reference.clone()
        x[..., share] *= 1.1
        errors.append(relative_errors(x, reference, canvas))
        assert float(errors[-1].mean()) == pytest.approx(0.1 / 2**0.5, rel=0.02)
    both = relative_errors(reference * 1.1, reference, canvas)
    assert torch.allclose(both, (errors[0]**2 + errors[1]**2).sqrt(), rtol=ROUNDING)
    plain = relative_errors(reference * 1.1, reference)
    assert float(both.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-6)
    assert float(plain.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-6)


def test_a_silent_medium_has_no_error_of_its_own() -> None:
    canvas, reference = Canvas((VIDEO, SOUND)), packed(4)
    reference[..., 96:] = 0
    assert torch.isfinite(relative_errors(reference * 1.1, reference, canvas)).all()


def search(world: World, **more: Any) -> Any:  # noqa: ANN401
    """A quick search on the two media."""
    words = [[torch.zeros(1, 4, 8), {}]]
    given = {"latent": {"samples": empty(4)}, "steps": 4, "method": "fit", "effort": "quick",
             "seed": 1, "name": "two media", "cfg": 1.0, "model": model(), "positive": words,
             "negative": words, **more}
    with torch.inference_mode():
        return world.of("Search").execute(**{key: [value] for key, value in given.items()})


def test_a_search_weighs_both_media(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without units of their own the sound, 20 times as large, would be all that is searched."""
    pictures: list[Tensor] = []
    monkeypatch.setattr(world.module("nodes.comfy_bridge.screen").Screen, "preview",
                        lambda self, latent: pictures.append(latent))
    found = search(world).args[0]
    with monkeypatch.context() as without:
        without.setattr(world.module("solver_search.canvas").Canvas, "balanced",
                        lambda self, x, reference: x)
        without.setattr(world.module("nodes.search_setup").Setup, "_balance", lambda *given: None)
        in_one_mixture = search(world, name="mixture", again=True).args[0]
    assert pictures and all(p.shape == (1, *VIDEO) for p in pictures)
    assert found.info.error < found.info.baseline_error
    assert (found.info.height, found.info.width, found.info.frames) == (4, 4, 2)
    ours, mixed, euler = (errors_of(world, solver) for solver in (
        found.solver, in_one_mixture.solver, euler_like(found.solver)))
    assert all(float(own) < float(other) for own, other in zip(ours, euler, strict=True))
    assert min(float(mixed[0]), float(euler[0])) > 1.1 * float(ours[0])


def euler_like(solver: Any) -> Any:  # noqa: ANN401
    return load("solver_search.tableaus").TABLEAUS["euler"](
        torch.linspace(1, 0, solver.steps + 1).double(), flow=True)


def errors_of(world: World, solver: Any) -> list[Tensor]:  # noqa: ANN401
    """Mean relative error of each medium by itself, on noise the search did not see."""
    evidence = world.module("nodes.evidence")
    session = world.module("nodes.comfy_bridge.session")
    words = [[torch.zeros(1, 4, 8), {}]]
    guider = session.make_guider(model(), words, words, 1.0)

    def work(inside: Any) -> list[Tensor]:  # noqa: ANN401
        noise = torch.randn(16, 1, 96 + 36, generator=torch.Generator().manual_seed(99))
        trial = evidence.make_trial(inside, inside.starts(noise), torch.arange(16), 4)
        ends = trial.solver(solver, "").ends
        parts = zip(*(inside.canvas.parts(x) for x in (ends, trial.reference)), strict=True)
        return [relative_errors(x, reference).mean() for x, reference in parts]

    return session.within(guider, empty(4), work, seed=0)


@pytest.fixture(autouse=True)
def comfy_there(comfy: ModuleType) -> None:
    """ComfyUI is imported."""
