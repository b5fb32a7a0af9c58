r"""The independent path: the formula of presets/FORMAT.md as it stands there, in float64.

    x[n+1] = start[n] * ratio * x[0] + reach[n] * sum_j weights[n, j] * D[j],
    ratio = sigma[n+1] / sigma[0],   reach[n] = alpha(sigma[n+1]) - ratio * alpha(sigma[0])

with each channel's mean after `mean_weights`, in each medium of a nested latent by itself, and

    + reach[n] * sum_j guidance_weights[n, j] * G[j]

with each channel's mean of G after `guidance_mean_weights`. G = out - C: what the guider made of a
call, before any mask, less the output for the positive prompt alone. Both are read by a post-CFG
function of this file in the options that the guider is called with, behind all others there; a
guider that shows none has G = 0. C is as functions before CFG leave it, and DualCFGGuider shows
its second prompt's. The formula calls the guider, and knows nothing of ComfyUI's sampler
functions nor of our loop and hook.

Masks are as ComfyUI shows them to a model: it sees m * x + (1 - m) * (the noised picture L), and
D = m * out + (1 - m) * L. With M, the m of the last model call, each state is rows + M * extra:
what means and guidance do beside is painted as far as the mask allows. Rows that do not sum to 1
would leave a multiple of L outside the mask; there the finished state, and only that, is on the
straight line from its start to the picture instead:

    end = rows + M * extra + (1 - M) * (line - T),
    line = ratio * x[0] + reach * L,   T = start * ratio * x[0] + reach * sum_j weights[j] * L

Rows that sum to 1 have line = T, and nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.pack import load

Shapes = list[tuple[int, ...]]  # (C, ...) of each medium
Told = Callable[[float, Tensor], float]  # what a sampler around ours makes of a level told
KEY = "the plain formula"


@dataclass(frozen=True)
class Formula:
    """The closed form from one start.

    Args:
        solver: a Solver without a designer.
        start: (B, C, ...) float64 state at the first noise level; (B, 1, N) of several media.
        shapes: of the media, if there are several.
    """

    solver: Any
    start: Tensor
    shapes: Shapes

    def rows(self, n: int, outputs: list[Tensor]) -> Tensor:
        """State n + 1 if means went with the rest."""
        ratio, reach, factor = self._shares(n)
        return factor * ratio * self.start + reach * _sum(self.solver.weights[n], outputs)

    def extra(self, n: int, outputs: list[Tensor], added: list[Tensor]) -> Tensor | float:
        """What each channel's mean gets beside, and what guidance adds."""
        solver = self.solver
        none = torch.zeros_like(solver.weights)
        guided = solver.beside.get("guidance_weights", none)
        tables = [(solver.beside.get("mean_weights", solver.weights) - solver.weights,
                   [means_of(d, self.shapes) for d in outputs]),
                  (guided, added),
                  (solver.beside.get("guidance_mean_weights", guided) - guided,
                   [means_of(g, self.shapes) for g in added])]
        return self._shares(n)[1] * sum(_sum(table[n], seen) for table, seen in tables)

    def off_the_line(self, n: int, picture: Tensor) -> Tensor:
        """line - T: how far the rows leave the straight line to a picture."""
        ratio, reach, factor = self._shares(n)
        missing = 1 - self.solver.weights[n].sum()
        return (1 - factor) * ratio * self.start + reach * missing * picture

    def _shares(self, n: int) -> tuple[Tensor, Tensor, Tensor | float]:
        sigmas, flow = self.solver.sigmas, self.solver.flow
        ratio = sigmas[n + 1] / sigmas[0]
        alpha = 1 - sigmas if flow else torch.ones_like(sigmas)
        factor = 1.0 if self.solver.start is None else self.solver.start[n]
        return ratio, alpha[n + 1] - ratio * alpha[0], factor


def _sum(shares: Tensor, outputs: list[Tensor]) -> Tensor:
    return sum(float(share) * d for share, d in zip(shares, outputs, strict=False))


def means_of(x: Tensor, shapes: Shapes) -> Tensor:
    """Each channel's mean over all places, at every place."""
    from comfy.utils import pack_latents, unpack_latents

    if len(shapes) < 2:
        return x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    media = unpack_latents(x, [(len(x), *shape) for shape in shapes])
    return pack_latents([means_of(medium, []) for medium in media])[0]


@dataclass(frozen=True)
class Seen:
    """What a model is shown, and what is made of its answer.

    Args:
        wrap: the guider, as samplers see it.
        extra_args: what samplers hand to each model call.
        noise, picture: as ComfyUI's sampler has them, float32.
        mask: 1 where is painted, or None.
        asked: noise levels as the sampler was given them.
    """

    wrap: Any
    extra_args: dict[str, Any]
    noise: Tensor
    picture: Tensor
    mask: Tensor | None
    asked: Tensor

    def called(self, x: Tensor, told: float) -> tuple[Tensor, Tensor]:
        """D and G for a float64 state."""
        sigma, mask = torch.full((len(x),), told, dtype=torch.float32), self.mask_at(told)
        beyond = self.wrap.inner_model.scale_latent_inpaint(
            x=x.float(), sigma=sigma, noise=self.noise, latent_image=self.picture)
        shown = mask * x + (1 - mask) * beyond.double()
        added, watched = [torch.zeros_like(x)], dict(self.extra_args["model_options"])

        def noted(args: dict[str, Any]) -> Tensor:
            added.append(args["denoised"].double() - args["cond_denoised"].double())
            return args["denoised"]

        watched["sampler_post_cfg_function"] = [*watched.get("sampler_post_cfg_function", ()),
                                                noted]
        named = {**self.extra_args, "model_options": watched}
        out = self.wrap(shown.float(), sigma, **named).double()
        return mask * out + (1 - mask) * self.picture.double(), added[-1]

    def mask_at(self, told: float) -> Tensor:
        """The mask of a model call; differential diffusion has another for each."""
        if self.mask is None:
            return torch.ones_like(self.picture, dtype=torch.float64)
        sigma = torch.full((len(self.picture),), told, dtype=torch.float32)
        change = self.extra_args["model_options"].get("denoise_mask_function")
        if change is None:
            return self.mask.double()
        return change(sigma, self.mask, extra_options={"model": self.wrap,
                                                       "sigmas": self.asked}).double()


class FormulaSampler:
    """A SAMPLER that runs the formula.

    Args:
        find: (asked noise levels, model_sampling) -> Solver.
        shapes: of the media, if there are several.
        bent: of a sampler around this one.
    """

    def __init__(self, find: Callable[[Tensor, Any], Any], shapes: Shapes,
                 bent: Told | None = None) -> None:
        self.find, self.shapes = find, shapes
        self.bent = bent or (lambda told, levels: told)

    def within(self, bent: Told) -> FormulaSampler:
        """The same inside a sampler that changes the levels told."""
        return FormulaSampler(self.find, self.shapes, bent)

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any],  # noqa: ANN401
               callback: Callable | None, noise: Tensor, latent_image: Tensor,
               denoise_mask: Tensor | None = None, disable_pbar: bool = False) -> Tensor:
        """As ComfyUI's KSAMPLER.sample: noise in, finished latent out."""
        from comfy.samplers import Sampler

        ms = model_wrap.inner_model.model_sampling
        begun = ms.noise_scaling(sigmas[0], noise, latent_image,
                                 Sampler().max_denoise(model_wrap, sigmas))
        if len(sigmas) > 1:
            solver = self.find(sigmas, ms)
            extra_args = with_levels(extra_args, _told(solver))
            seen = Seen(model_wrap, extra_args, noise, latent_image, denoise_mask, sigmas)
            formula = Formula(solver, begun.double(), self.shapes)
            begun = self._run(formula, seen, callback or (lambda *step: None))
        return ms.inverse_noise_scaling(sigmas[-1], begun.float())

    def _run(self, formula: Formula, seen: Seen, callback: Callable) -> Tensor:
        solver, x, outputs, added = formula.solver, formula.start, [], []
        levels = [self.bent(told, solver.sigmas) for told in _told(solver)[:-1].tolist()]
        mask = seen.mask_at(levels[-1])
        for n, (told, read) in enumerate(zip(levels, _read(solver), strict=True)):
            before = x
            none = torch.zeros_like(x)
            output, guidance = seen.called(x, told) if read else (none, none)
            outputs.append(output)
            added.append(guidance)
            x = formula.rows(n, outputs) + mask * formula.extra(n, outputs, added)
            if n == solver.steps - 1:
                x = x + (1 - mask) * formula.off_the_line(n, seen.picture.double())
            shown = x if solver.sigmas[n + 1] == 0 else outputs[n]
            callback(n, shown.float(), before.float(), solver.steps)
        return x


def _told(solver: Any) -> Tensor:  # noqa: ANN401
    """(N + 1,) noise levels told in each call, and the last one, float32."""
    own = solver.sigmas[:-1] if solver.model_sigmas is None else solver.model_sigmas
    return torch.cat([own, solver.sigmas[-1:]]).float()


def _read(solver: Any) -> list[bool]:  # noqa: ANN401
    """Whether some row reads an output; others are not computed."""
    tables = [solver.weights, *solver.beside.values()]
    return (torch.stack(tables) != 0).any(dim=1).any(dim=0).tolist()


def with_levels(extra_args: dict[str, Any], levels: Tensor) -> dict[str, Any]:
    """Patches look for the current step among these."""
    options = dict(extra_args["model_options"])
    options["transformer_options"] = {**options.get("transformer_options", {}),
                                      "sample_sigmas": levels}
    return {**extra_args, "model_options": options}


def part(preset: Any) -> Callable[[Tensor, Any], Any]:  # noqa: ANN401
    """The solver that serves the noise levels asked for; tests/test_part.py holds that map."""
    def find(asked: Tensor, ms: Any) -> Any:  # noqa: ANN401
        clock = load("nodes.comfy_bridge.model").time(ms)
        return load("solver_search.part").part_of(preset.solver, asked, clock).solver
    return find


def whole(preset: Any) -> Callable[[Tensor, Any], Any]:  # noqa: ANN401
    """The preset's own way, whatever is asked for."""
    return lambda asked, ms: preset.solver


def sampled_by_the_formula(model: Any, find: Callable[[Tensor, Any], Any],  # noqa: ANN401
                           shapes: Shapes) -> Any:  # noqa: ANN401
    """A MODEL that any sampler node samples with the formula, on the solver's noise levels."""
    from comfy.patcher_extension import WrappersMP

    def outer(executor: Callable, noise: Tensor, latent: Tensor, sampler: Any,  # noqa: ANN401
              sigmas: Tensor, *rest: Any, **named: Any) -> Tensor:  # noqa: ANN401
        bent = sampler.extra_options.get("bent")
        if len(sigmas) < 2:
            return executor(noise, latent, FormulaSampler(find, shapes), sigmas, *rest, **named)
        solver = find(sigmas, executor.class_obj.model_patcher.get_model_object("model_sampling"))
        return executor(noise, latent, FormulaSampler(lambda asked, ms: solver, shapes, bent),
                        solver.sigmas.float(), *rest, **named)

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, outer)
    return patched
