"""Work inside a guider: the model loaded, conditioned and patched exactly as it will be sampled.

`within(guider, ...)` lets ComfyUI prepare everything (weights, conditioning, LoRAs, ControlNet)
and then calls our work instead of a sampler; clean-up is ComfyUI's own.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import comfy.model_management as management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ...solver_search.canvas import PLAIN, Canvas
from ...solver_search.metrics import relative_errors
from ...solver_search.ranks import ALONE, Ranks
from ...solver_search.records import Records
from .features import Probe
from .guiding import Guiding
from .latents import media_shapes
from .memory import Room, is_out_of_memory
from .model import first_sigma
from .prepared import ordinary, smoothed, trainable
from .prompts import Conds, count, marked, only, rows_of

LOADED_KEY = "solver-search-loading"
T = TypeVar("T")
Guider = comfy.samplers.CFGGuider


class Session:
    """A loaded model under one guider.

    Args:
        wrap: the guider, as samplers see it.
        extra_args: what samplers hand to each model call.
        latent_image: (B, C, ...) encoded picture, zeros for text-to-image; several media lie
            in one row, (B, 1, N), as samplers get them.
        canvas: which media those are.

    `room` says how many pictures a model call holds, `on_call` is told those of each call,
    `records` holds what was measured before by a search that goes on, `ranks` are the processes
    that measure together.
    """

    def __init__(self, wrap: Guider, extra_args: dict[str, Any], latent_image: Tensor,
                 canvas: Canvas = PLAIN) -> None:
        self.wrap = wrap
        self.guiding = Guiding()
        options = self.guiding.patched(extra_args.get("model_options", {}))
        self.extra_args = {**extra_args, "model_options": options}
        self.latent_image = latent_image
        self.canvas = canvas
        self.sampling = wrap.inner_model.model_sampling
        self.order: Tensor | None = None
        self.scales: Tensor | None = None
        self.levels: Tensor | None = None
        self.added: Tensor | None = None
        self.room = Room()
        self.calls = 0
        self.on_call: Callable[[int], None] = lambda pictures: None
        self.records = Records()
        self.ranks: Ranks = ALONE
        self._probe: Probe | None = None

    @property
    def device(self) -> torch.device:
        """Where states live."""
        return self.latent_image.device

    def activation_bytes(self, count: int) -> float:
        """What ComfyUI reserves beside the weights for a call of so many pictures with CFG."""
        return float(self.wrap.inner_model.memory_required([2 * count,
                                                            *self.latent_image.shape[1:]]))

    def probed(self) -> Probe:
        """The features of the newest model call, watched from now on.

        Raises:
            FeatureError: if ComfyUI offers no patch point in this family.
        """
        if self._probe is None:
            self._probe = Probe(self.wrap.inner_model.diffusion_model)
            options = self._probe.patched(self.extra_args.get("model_options", {}))
            self.extra_args = {**self.extra_args, "model_options": options}
            self.room.whole = True  # its features are those of one call
        return self._probe

    def starts(self, noise: Tensor, denoise: float = 1.0,
               pictures: Tensor | None = None) -> Tensor:
        """States from unit noise where `denoise` begins, as KSampler makes them.

        Args:
            noise: (S, C, ...).
            denoise: share of the way that is left; 1 starts at sigma_max.
            pictures: (S, C, ...) what lies below the noise; None: the session's own latents.
        """
        sigma = torch.tensor([first_sigma(self.sampling, denoise)], device=self.device)
        if pictures is None:
            pictures = self.latent_image[:1].expand(noise.shape)
        return self.sampling.noise_scaling(sigma, noise.to(self.device).clone(), pictures,
                                           denoise >= 1)

    @property
    def empty(self) -> bool:
        """Whether there is no picture to begin from."""
        return not torch.count_nonzero(self.latent_image)

    @property
    def prompts(self) -> int:
        """How many different prompts the guider holds."""
        return count(self.wrap.original_conds.values())

    @property
    def guidance(self) -> float | None:
        """CFG scale of an ordinary guider with a negative prompt; None: it cannot be changed."""
        plain = type(self.wrap).predict_noise is Guider.predict_noise
        return float(self.wrap.cfg) if plain and self.wrap.conds.get("negative") else None

    @contextlib.contextmanager
    def guided(self, cfg: float) -> Iterator[None]:
        """The same at another CFG scale; only where `guidance` is not None."""
        before = self.wrap.cfg
        self.wrap.set_cfg(cfg)
        try:
            yield
        finally:
            self.wrap.set_cfg(before)

    def deal(self, order: Tensor, scales: Tensor | None = None) -> None:
        """Say which prompt each start has, order[i], and at which CFG scale it is sampled,
        scales[i]; None: all at the guider's."""
        self.order, self.scales = order, scales

    @contextlib.contextmanager
    def at_levels(self, told: Tensor) -> Iterator[None]:
        """Let patches that look up the current step find it among these noise levels; else they
        find each call's own, behind the highest."""
        self.levels = told.float().to(self.device)
        try:
            yield
        finally:
            self.levels = None

    def dealt(self, run: Callable[[Tensor, Tensor], Tensor], x: Tensor,
              items: Tensor) -> Tensor:
        """run(x, items) -> ends, by each rank for its share of the starts.

        Raises:
            SearchError: where there are several ranks, of what any one raises.
        """
        if self.ranks.alone:
            return run(x, items)
        every, before = torch.arange(len(x)), self.calls
        own = self.ranks.own(every)
        ends = self.ranks.alike(lambda: run(x[own], items[own]) if len(own) else x[own])
        own_calls = self.calls - before
        others = int(self.ranks.summed(torch.tensor([own_calls]))) - own_calls
        self.ranks.together(lambda: self.on_call(others))
        return self.ranks.gathered(ends.to(x.dtype), every)

    def errors(self, ends: Tensor, reference: Tensor) -> Tensor:
        """(S,) relative errors, to the bit the same on all ranks: they decide by these."""
        found = relative_errors(ends, reference, self.canvas)
        return self.ranks.shared({"errors": found})["errors"]

    def latent(self, x: Tensor) -> Tensor:
        """Finished states as LATENT samples on the CPU; of several media the first."""
        end = self.sampling.inverse_noise_scaling(torch.zeros(1, device=self.device), x)
        whole = self.wrap.inner_model.process_latent_out(end.to(torch.float32)).cpu()
        return self.canvas.parts(whole)[0]

    def denoise(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        """One model call, or several where memory is short; row b of x belongs to start items[b]
        and its prompt. `added` then holds what guidance added, shaped as x, or None where the
        guider does not say.

        Raises:
            OutOfMemory: if not even one picture fits.
            ComfyUI's InterruptProcessingException when the user cancels.
        """
        sigma, found = sigma.expand(len(x)), None
        while found is None:
            try:
                found = self._in_parts(x, sigma, items)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if found is None:  # the failed call's tensors are gone with its error
                self.room.shrink(len(x))
        self.calls += len(x)
        self.on_call(len(x))
        return found

    def _in_parts(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        parts = self.room.parts(len(x))
        if len(parts) == 1:
            return self._answer(x, sigma, items)
        answers, added = [], []
        for part in parts:
            answers.append(self._answer(x[part], sigma[part], items[part]))
            added.append(self.added)
        self.added = None if any(a is None for a in added) else torch.cat(added)
        return torch.cat(answers)

    def _answer(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        management.throw_exception_if_processing_interrupted()
        if self.scales is None:
            return self._of_prompts(x, sigma, items)
        scales = self.scales[items]

        def at_scale(own: Tensor) -> Tensor:
            there = own.to(x.device)
            with self.guided(float(scales[own[0]])):
                return self._of_prompts(x[there], sigma[there], items[own])
        return self._in_groups(scales, at_scale)

    def _of_prompts(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        prompts, conds = items if self.order is None else self.order[items], self.wrap.conds
        if not marked(conds):
            return self._call(x, sigma, rows_of(conds, prompts))

        def of_prompt(own: Tensor) -> Tensor:
            there = own.to(x.device)
            return self._call(x[there], sigma[there], only(conds, int(prompts[own[0]])))
        return self._in_groups(prompts, of_prompt)

    def _in_groups(self, keys: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        """The rows of a call for each group of equal keys, in their own order."""
        ends: list[Any] = [None] * len(keys)
        added: list[Any] = [None] * len(keys)
        for key in keys.unique().tolist():
            own = (keys == key).nonzero().flatten()
            found = call(own)
            for i, place in enumerate(own.tolist()):
                ends[place] = found[i]
                added[place] = None if self.added is None else self.added[i]
        self.added = None if any(a is None for a in added) else torch.stack(added)
        return torch.stack(ends)

    def _levels(self, sigma: Tensor) -> Tensor:
        if self.levels is not None:
            return self.levels
        top = torch.tensor([float(self.sampling.sigma_max), 0.0], device=sigma.device)
        return torch.cat([sigma.detach(), top]).unique().flip(0)

    def _call(self, x: Tensor, sigma: Tensor, conds: Conds) -> Tensor:
        kept = self.wrap.conds
        self.wrap.conds = conds
        try:
            found = self.wrap(x, sigma, **with_levels(self.extra_args, self._levels(sigma)))
        finally:
            self.wrap.conds = kept
        self.added = self.guiding.added(found)
        return found


def with_levels(extra_args: dict[str, Any], told: Tensor) -> dict[str, Any]:
    """Arguments of a model call with the noise levels that the model is told in a run."""
    options = dict(extra_args.get("model_options", {}))
    options["transformer_options"] = {**options.get("transformer_options", {}),
                                      "sample_sigmas": told}
    return {**extra_args, "model_options": options}


def make_guider(model: comfy.model_patcher.ModelPatcher, positive: list, negative: list,
                cfg: float) -> Guider:
    """An ordinary CFG guider."""
    guider = Guider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def within(guider: Guider, latent_image: Tensor, work: Callable[[Session], T], *, seed: int,
           smooth: bool = False, differentiable: bool = False) -> T:
    """Run `work` with the guider's model ready; returns what work returns.

    Args:
        guider: any ComfyUI guider; it is copied, never changed.
        latent_image: (B, C, ...) fixes size and batch; may be ComfyUI's nest of several media.
        work: gets the Session, outside inference mode and without grad.
        smooth: interpolate a discrete model's time (searching).
        differentiable: make weights usable in a backward pass.
    """
    with torch.inference_mode(False), torch.no_grad():
        own = copy.copy(guider)
        own.original_conds = ordinary(guider.original_conds)
        own.model_patcher = guider.model_patcher.clone()
        own.model_options = copy.copy(own.model_patcher.model_options)
        own.model_patcher.add_wrapper_with_key(
            comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING, LOADED_KEY, _as_nodes_load)
        latent_image = ordinary(latent_image)
        worker = _Worker(work, differentiable, Canvas(media_shapes(latent_image)))
        with smoothed(own.model_patcher, wanted=smooth) as ms, _random_kept(own.model_patcher):
            sigmas = torch.tensor([float(ms.sigma_max), 0.0])
            own.sample(latent_image * 0, latent_image, worker, sigmas, disable_pbar=True,
                       seed=seed)
        return worker.result


def _random_kept(model: comfy.model_patcher.ModelPatcher) -> contextlib.AbstractContextManager:
    """torch's random numbers go on afterwards as if nothing had been."""
    device = torch.device(model.load_device)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _as_nodes_load(executor: Callable[..., T], *given: object, **named: object) -> T:
    """ComfyUI's loading in the mode of its nodes: weights of its loaders are inference tensors,
    and such a one that is moved to a device outside inference mode fails in the first layer."""
    with torch.inference_mode():
        return executor(*given, **named)


class _Worker(comfy.samplers.Sampler):
    """A SAMPLER whose sampling is our work."""

    def __init__(self, work: Callable[[Session], Any], differentiable: bool,
                 canvas: Canvas) -> None:
        self.work = work
        self.differentiable = differentiable
        self.canvas = canvas
        self.result: Any = None

    def sample(self, model_wrap: Guider, sigmas: Tensor, extra_args: dict[str, Any],
               callback: object, noise: Tensor, latent_image: Tensor | None = None,
               denoise_mask: Tensor | None = None, disable_pbar: bool = False) -> Tensor:
        latent_image = torch.zeros_like(noise) if latent_image is None else latent_image
        model = model_wrap.inner_model
        guard = trainable(model) if self.differentiable else contextlib.nullcontext()
        with guard:
            self.result = self.work(Session(model_wrap, extra_args, latent_image, self.canvas))
        return torch.zeros_like(noise)
