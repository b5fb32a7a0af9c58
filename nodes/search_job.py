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
from ..solver_search.config import METHODS, SearchConfig
from ..solver_search.search import Budget, Event, Problem, Run, is_autograd, search
from ..solver_search.solver import Solver
from .comfy_bridge.latents import first_medium
from .comfy_bridge.model import ModelFacts, facts
from .comfy_bridge.prompts import count
from .comfy_bridge.session import Guider, Session, within
from .proof import proof_calls, prove, ranged
from .repeatable import check_memoryless
from .search_setup import Setup, unseen
from .version import VERSION


@dataclass(frozen=True)
class Estimate:
    """Cost of a search, from one timed model call.

    Args:
        calls: most model calls of the search itself.
        proof: most model calls of the measurement behind it.
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
        problem = self._setup.problem(session, model)
        check_memoryless(session, problem.starts[:1].to(session.device), model.dtype)
        self.on_estimate(self._estimate(session, problem))
        run = Run(problem, self.config.budget, on_call=self.on_call,
                  model_calls=self._setup.extra_calls(session))

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
        except RuntimeError as error:
            if not METHODS[self.config.method].gradient or not is_autograd(error):
                raise
            run.tell(f"{error} The search goes on with 'fit'.")
            self.config = replace(self.config, method="fit")
            run.budget = Budget(run.model_calls + self.config.sizes.model_calls)
            METHODS["fit"].run(run, self.config)

    def _shown(self, event: Event, canvas: Canvas) -> Event:
        """The event with what people look at of several media: the first."""
        if event.picture is None or canvas == PLAIN:
            return event
        return replace(event, picture=canvas.parts(event.picture)[0])

    def _estimate(self, session: Session, problem: Problem) -> Estimate:
        x = problem.starts[: problem.batch]
        items, sigma = torch.arange(len(x)), torch.tensor(problem.sigma_max)
        problem.denoise(x, sigma, items)  # the first call also warms up
        begun = time.perf_counter()
        problem.denoise(x, sigma, items)  # its answer in main memory: the device is done
        each = (time.perf_counter() - begun) / len(x)
        calls = self.config.sizes.model_calls
        proof = proof_calls(self._setup, session)
        needed = session.activation_bytes + 2 * x.nbytes
        info = METHODS[self.config.method]
        seconds = each * (calls * info.pace + proof)
        return Estimate(calls, proof, seconds, problem.batch, needed, info.gradient)

    @property
    def _setup(self) -> Setup:
        return Setup(self.latent, self.config)

    @property
    def _prompts(self) -> int:
        """Prompts the search learns from."""
        held = count(self.guider.original_conds.values())
        return held - unseen(held)

    def _prove(self, session: Session, preset: Preset, run: Run) -> Preset:
        """What is handed out, with its error on seeds and prompts the search never saw, and with
        the CFG range in which it is better than the built-in settings."""
        info = replace(preset.info, held_out_prompts=unseen(session.prompts))
        proof = prove(self._setup, session, run, replace(preset, info=info))
        self.on_improved(proof.preset)
        if session.guidance is None or proof.preset.info.builtin:
            return proof.preset
        run.tell("measuring at other CFG scales")
        preset = ranged(self._setup, session, proof)
        self.on_improved(preset)
        return preset

    def _preset(self, solver: Solver, model: ModelFacts, run: Run) -> Preset:
        latent = first_medium(self.latent)
        *_, height, width = latent.shape
        teacher = METHODS[self.config.method].teacher.format(run.teacher_calls)
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


def _frames(latent: Tensor) -> int:
    return latent.shape[2] if latent.ndim == 5 else 0
