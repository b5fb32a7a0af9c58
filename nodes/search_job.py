"""One search request from start to finish: problem, search, evidence, what to remember of it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..presets.preset import Preset, PresetInfo
from ..solver_search.canvas import PLAIN, Canvas
from ..solver_search.clocks import rest
from ..solver_search.config import METHODS, SearchConfig
from ..solver_search.search import (
    Budget,
    Event,
    GradientError,
    Problem,
    RowDenoise,
    Run,
    search,
)
from ..solver_search.solver import Solver
from .comfy_bridge.latents import first_medium
from .comfy_bridge.model import ModelFacts, clocks, facts, first_sigma
from .comfy_bridge.ordinary import (
    POPULAR_SAMPLERS,
    Setting,
    deterministic_samplers,
    schedules,
    settings,
)
from .comfy_bridge.prompts import count
from .comfy_bridge.session import Guider, Session, within
from .evidence import REFERENCE_CALLS, Trial, accurate_ends, make_trial, starts_of_trials
from .guidance import AtScale, calls_of_range, measure_around, seeds_of_range, with_range
from .repeatable import check_memoryless
from .version import VERSION

PICTURE_CALLS = 24  # for pictures to begin from, when an image-to-image search is given none
PICTURE_SEED = 2**20
SIZE_CALLS, SIZE_STARTS = 24, 2  # of the run that tells how large each of several media is
DIFFERENCES = {torch.float16: 1e-2, torch.bfloat16: 3e-2}  # measured: smaller steps drown in noise


@dataclass(frozen=True)
class Estimate:
    """Cost of a search, from one timed model call.

    Args:
        calls: most model calls of the search itself.
        proof: model calls of the measurement behind it.
        seconds: about how long both take.
        batch: pictures per call.
        memory: bytes beside the weights.
        gradient: whether the search differentiates through the model.
    """

    calls: int
    proof: int
    seconds: float
    batch: int
    memory: float
    gradient: bool

    @property
    def text(self) -> str:
        """For people, before the search starts."""
        minutes = self.seconds / 60
        how = "checked gradients" if self.gradient else "no gradients"
        return (f"up to {self.calls} model calls and {self.proof} to measure the result, "
                f"{self.batch} pictures at a time, {how}: about {minutes:.1f} minutes and "
                f"{self.memory / 2**30:.2g} GB beside the model")


@dataclass
class Job:
    """A search on one guider and picture size.

    Args:
        guider: any ComfyUI guider.
        latent: (B, C, ...) its shape is the picture size, B the pictures per model call; may be
            ComfyUI's nest of several media.
        config: what is asked for.
        on_event: told of every offer and phase.
        on_call: told the model calls spent.
        on_estimate: told the cost before the search starts.
        on_improved: given every better preset at once, so that nothing is lost.
    """

    guider: Guider
    latent: Tensor
    config: SearchConfig
    guidance: float
    name: str
    on_event: Callable[[Event], None] = lambda event: None
    on_call: Callable[[int], None] = lambda calls: None
    on_estimate: Callable[[Estimate], None] = lambda estimate: None
    on_improved: Callable[[Preset], None] = lambda preset: None

    def run(self) -> tuple[Preset, Run]:
        """Search, then measure on unseen seeds.

        Returns:
            the finished preset and the search's book-keeping.

        Raises:
            SearchError: when the model cannot be searched; interrupts pass through. Either way
                on_improved has been given the best so far.
        """
        model = facts(self.guider.model_patcher)
        run = self.search()
        preset = self._preset(run.best, model, run)
        run.tell("measuring on unseen seeds")
        preset = within(self.guider, self.latent,
                        lambda session: self._prove(session, preset, run), seed=self.config.seed)
        return preset, run

    def search(self) -> Run:
        """Only the search, without evidence; see run()."""
        model = facts(self.guider.model_patcher)
        method = METHODS[self.config.method]
        return within(self.guider, self.latent, lambda session: self._search(session, model),
                      seed=self.config.seed, smooth=True, differentiable=method.gradient)

    def _search(self, session: Session, model: ModelFacts) -> Run:
        problem = self._problem(session, model)
        check_memoryless(session, problem.starts[:1].to(session.device), model.dtype)
        self.on_estimate(self._estimate(session, problem))
        painted = self.config.denoise < 1 and session.empty
        run = Run(problem, self.config.budget, on_call=self.on_call,
                  model_calls=self.config.sizes.searched * PICTURE_CALLS if painted else 0)

        def listen(event: Event) -> None:
            if event.improved:
                self.on_improved(self._preset(event.solver, model, run))
            self.on_event(self._shown(event, problem.canvas))

        run.on_event = listen
        return search(self._method, run)

    def _method(self, run: Run) -> None:
        """The chosen method; on a model without a usable gradient the default one, and says so."""
        try:
            METHODS[self.config.method].run(run, self.config)
        except GradientError as error:
            run.tell(f"{error} The search goes on with 'fit'.")
            self.config = replace(self.config, method="fit")
            run.budget = Budget(run.model_calls + self.config.sizes.model_calls)
            METHODS["fit"].run(run, self.config)

    def _problem(self, session: Session, model: ModelFacts) -> Problem:
        """What is searched; the prompts are dealt first."""
        sizes, denoise = self.config.sizes, self.config.denoise
        session.deal(self._dealt(session.prompts))
        first = first_sigma(session.sampling, denoise)
        found = schedules(session.sampling, self.config.steps, denoise=denoise)
        starts = self._starts(session, self.config.seed, torch.arange(sizes.searched))
        balance = self._balance(session, starts)
        return Problem(
            denoise=_from_main_memory(session, balance),
            starts=(starts if balance is None else starts * balance).cpu(),
            fit=sizes.fit,
            flow=model.flow,
            sigma_max=first,
            schedules={name: _from(first, sigmas) for name, sigmas in found.items()},
            clock=rest(clocks(session.sampling)[0], first),
            time=rest(clocks(session.sampling)[1], first),
            batch=self._batch,
            difference=DIFFERENCES.get(model.dtype, 2e-3),
            feature=_feature(session) if METHODS[self.config.method].designer else None,
            canvas=session.canvas,
        )

    def _balance(self, session: Session, starts: Tensor) -> Tensor | None:
        """(1, ...) factors after which each of several media counts the same; None: only one.

        A table is linear in a state, so a search in other units finds the same table.
        """
        if session.canvas == PLAIN:
            return None
        items = torch.arange(SIZE_STARTS)
        ends = accurate_ends(session, starts[:SIZE_STARTS], items, self._batch, SIZE_CALLS,
                             self.config.denoise)
        return session.canvas.balance(ends)

    def _shown(self, event: Event, canvas: Canvas) -> Event:
        """The event with what people look at of several media: the first."""
        if event.picture is None or canvas == PLAIN:
            return event
        return replace(event, picture=canvas.parts(event.picture)[0])

    @property
    def _batch(self) -> int:
        return len(first_medium(self.latent))

    def _dealt(self, prompts: int) -> Tensor:
        """(starts,) prompt of each; with three prompts or more the last ones are for evidence."""
        searched, evidence = self.config.sizes.searched, self.config.sizes.evidence
        kept = unseen(prompts)
        seen = torch.arange(searched) % (prompts - kept)
        if not kept:
            return torch.cat([seen, torch.arange(searched, searched + evidence) % prompts])
        return torch.cat([seen, prompts - kept + torch.arange(evidence) % kept])

    def _starts(self, session: Session, seed: int, items: Tensor) -> Tensor:
        """States where the way begins. Image to image: noise over the latents that were given,
        or, if they are empty, over pictures the model paints for this."""
        noise = self._noise(session, len(items), seed)
        if self.config.denoise >= 1:
            return session.starts(noise)
        if session.empty:
            begun = session.starts(self._noise(session, len(items), seed + PICTURE_SEED))
            pictures = accurate_ends(session, begun, items, self._batch, PICTURE_CALLS)
        else:
            pictures = session.latent_image[items % len(session.latent_image)]
        return session.starts(noise, self.config.denoise, pictures)

    def _noise(self, session: Session, count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((count, *session.latent_image.shape[1:]), generator=generator)

    def _estimate(self, session: Session, problem: Problem) -> Estimate:
        x = problem.starts[: problem.batch]
        items, sigma = torch.arange(len(x)), torch.tensor(problem.sigma_max)
        problem.denoise(x, sigma, items)  # the first call also warms up
        begun = time.perf_counter()
        problem.denoise(x, sigma, items)  # its answer in main memory: the device is done
        each = (time.perf_counter() - begun) / len(x)
        calls, proof = self.config.sizes.model_calls, self._proof_calls(session)
        needed = session.activation_bytes + 2 * x.nbytes
        info = METHODS[self.config.method]
        seconds = each * (calls * info.pace + proof)
        return Estimate(calls, proof, seconds, problem.batch, needed, info.gradient)

    def _proof_calls(self, session: Session) -> int:
        steps, evidence = self.config.steps, self.config.sizes.evidence
        names = deterministic_samplers() if self._thorough else POPULAR_SAMPLERS
        tried = settings(session.sampling, steps, names, self.config.denoise)
        own = evidence * (REFERENCE_CALLS + steps) + steps * starts_of_trials(len(tried), evidence)
        if session.guidance is None:
            return own
        return own + calls_of_range(steps, session.guidance, seeds_of_range(evidence),
                                    len({setting.sampler for setting in tried}))

    @property
    def _prompts(self) -> int:
        """Prompts the search learns from."""
        held = count(self.guider.original_conds.values())
        return held - unseen(held)

    @property
    def _thorough(self) -> bool:
        return self.config.effort == "thorough"

    def _prove(self, session: Session, preset: Preset, run: Run) -> Preset:
        """The preset with its error on seeds and prompts the search never saw, and with the CFG
        range in which it is better than the built-in settings."""
        sizes = self.config.sizes
        session.deal(self._dealt(session.prompts))
        items = sizes.searched + torch.arange(sizes.evidence)
        starts = self._starts(session, self.config.seed + 1, items)
        trial = make_trial(session, starts, items, self._batch, self.config.denoise)
        info, ranking = prove(trial, preset, thorough=self._thorough)
        preset = replace(preset, info=replace(info, held_out_prompts=unseen(session.prompts)))
        self.on_improved(preset)
        if session.guidance is not None:
            run.tell("measuring at other CFG scales")
            preset = replace(preset, info=_ranged(session, preset, trial, ranking))
            self.on_improved(preset)
        return preset

    def _preset(self, solver: Solver, model: ModelFacts, run: Run) -> Preset:
        latent = first_medium(self.latent)
        *_, height, width = latent.shape
        teacher = METHODS[self.config.method].teacher.format(self.config.sizes.teacher_calls)
        info = PresetInfo(
            name=self.name, created=datetime.date.today().isoformat(), family=model.family,
            prediction=model.prediction, latent_channels=model.latent_channels, shift=model.shift,
            sigma_min=model.sigma_min, sigma_max=model.sigma_max, model_name=model.file_name,
            guidance=self.guidance, width=width, height=height, frames=_frames(latent),
            denoise=self.config.denoise if self.config.denoise < 1 else None,
            prompts=self._prompts,
            method=self.config.method, teacher=teacher,
            trajectories=self.config.sizes.fit, model_calls=run.model_calls,
            seconds=round(run.seconds, 1), seed=self.config.seed, tool_version=VERSION,
            torch_version=str(torch.__version__))
        return Preset(solver, info)


def prove(trial: Trial, preset: Preset, *,
          thorough: bool) -> tuple[PresetInfo, list[Setting]]:
    """Evidence of a preset on a trial's starts, beside the best built-in setting's; and all
    settings tried, the better ones first."""
    ours, calls = trial.solver(preset.solver, preset.info.name), preset.solver.nfe
    tried = trial.ordinary(calls, everything=thorough)
    best, ranking = trial.contest(tried, calls)
    return replace(
        preset.info, error=ours.mean, error_interval=ours.interval,
        baseline=f"{best.label}, the best of {len(tried)} built-in settings",
        baseline_error=best.mean, baseline_interval=best.interval,
        held_out_seeds=len(trial.items), reference="deis, 100 calls"), ranking


def _ranged(session: Session, preset: Preset, trial: Trial, ranking: list[Setting]) -> PresetInfo:
    info = preset.info
    own = AtScale(session.guidance or 0.0, info.error or 0.0, info.baseline_error or 0.0)
    return with_range(info, own, measure_around(session, preset, trial, ranking))


def unseen(prompts: int) -> int:
    """How many of the prompts are kept for evidence: a quarter, from three prompts on."""
    return max(1, prompts // 4) if prompts >= 3 else 0


def _from(first: float, sigmas: Tensor) -> Tensor:
    """The same schedule, beginning exactly at sigma `first` (lists are rounded)."""
    return torch.cat([torch.tensor([first], dtype=torch.float64), sigmas[1:].double()])


def _frames(latent: Tensor) -> int:
    return latent.shape[2] if latent.ndim == 5 else 0


def _from_main_memory(session: Session, balance: Tensor | None) -> RowDenoise:
    """The model's answers to states in main memory; the device holds one batch at a time.

    `balance`: factors by which the search's states are those of the model.
    """
    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        there = session.device
        return session.denoise(x.to(there), sigma.to(there), items).to(x.device)

    def in_other_units(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        factors = balance.to(x.device)
        return denoise(x / factors, sigma, items) * factors

    return denoise if balance is None else in_other_units


def _feature(session: Session) -> Callable[[], Tensor]:
    probe = session.probed()
    return lambda: probe.feature().cpu()
