"""One search request from start to finish: problem, searches, evidence, what to remember of it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ..presets.preset import Preset, PresetInfo
from ..solver_search.canvas import PLAIN, Canvas
from ..solver_search.config import METHODS, SearchConfig
from ..solver_search.family import begun_from, outwards, share, whole_budget
from ..solver_search.search import Budget, Event, Problem, Run, is_autograd, search
from ..solver_search.solver import Solver
from .comfy_bridge.latents import first_medium
from .comfy_bridge.model import ModelFacts, facts
from .comfy_bridge.prompts import count
from .comfy_bridge.session import Guider, Session, within
from .proof import Proof, Unseen, proof_calls, prove, ranged
from .repeatable import check_memoryless
from .search_setup import Setup
from .search_setup import unseen as kept_prompts
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


class Member(NamedTuple):
    """One of the solvers found, and the book-keeping of its search."""

    preset: Preset
    run: Run


@dataclass
class Job:
    """A search on one guider and picture size, for one number of steps or several.

    Args:
        guider: any ComfyUI guider.
        latent: (B, C, ...) its shape is the picture size, B the pictures per model call; may be
            ComfyUI's nest of several media.
        config: what is asked for.
        name: of the preset.
        more: further numbers of steps, each with the name of its preset.
        on_event: told of every offer and phase; calls are those of all members together.
        on_call: told the model calls spent on all members.
        on_estimate: told the cost before the search starts.
        on_improved: given every better preset at once, so that nothing is lost.
    """

    guider: Guider
    latent: Tensor
    config: SearchConfig
    guidance: float
    name: str
    more: Mapping[int, str] = field(default_factory=dict)
    on_event: Callable[[Event], None] = lambda event: None
    on_call: Callable[[int], None] = lambda calls: None
    on_estimate: Callable[[Estimate], None] = lambda estimate: None
    on_improved: Callable[[Preset], None] = lambda preset: None

    def run(self) -> list[Member]:
        """Search, then measure on unseen seeds.

        Returns:
            the finished presets, that of `config` first, each with the others as its siblings.

        Raises:
            SearchError: when the model cannot be searched; interrupts pass through. Either way
                on_improved has been given the best so far.
        """
        model = facts(self.guider.model_patcher)
        found = [Member(self._preset(run.best, model, run), run) for run in self.search()]
        found = within(self.guider, self.latent, lambda session: self._prove(session, found),
                       seed=self.config.seed)
        found.sort(key=lambda member: list(self._names).index(member.run.problem.steps))
        presets = [member.preset for member in found]
        return [Member(replace(own, siblings=tuple(p for p in presets if p is not own)), run)
                for own, run in found]

    def search(self) -> list[Run]:
        """Only the searches, in their order and without evidence; see run()."""
        model = facts(self.guider.model_patcher)
        method = METHODS[self.config.method]
        return within(self.guider, self.latent, lambda session: self._search(session, model),
                      seed=self.config.seed, smooth=True, differentiable=method.gradient)

    def _search(self, session: Session, model: ModelFacts) -> list[Run]:
        problem = self._setup.problem(session, model)
        check_memoryless(session, problem.starts[:1].to(session.device), model.dtype)
        self.on_estimate(self._estimate(session, problem))
        found: dict[int, Run] = {}
        for steps, near in self._order:
            run = (Run(problem, self.config.budget, model_calls=self._setup.extra_calls(session))
                   if near is None else self._follower(session, found[near], steps))
            found[steps] = self._member(run, model, sum(r.model_calls for r in found.values()))
        return list(found.values())

    def _follower(self, session: Session, neighbour: Run, steps: int) -> Run:
        schedules = Setup(self.latent, self._config(steps)).schedules(session)
        others = [n for n, near in self._order if near is not None]
        return begun_from(neighbour, schedules, share(self.config.budget, steps, others))

    def _member(self, run: Run, model: ModelFacts, before: int) -> Run:
        """One search, told of with the calls spent `before` it."""
        canvas, steps = run.problem.canvas, run.problem.steps

        def listen(event: Event) -> None:
            if event.improved:
                self.on_improved(self._preset(event.solver, model, run))
            phase = f"{steps} steps: {event.phase}" if self.more else event.phase
            self.on_event(self._shown(replace(
                event, phase=phase, model_calls=before + event.model_calls), canvas))

        run.on_event, run.on_call = listen, lambda calls: self.on_call(before + calls)
        return search(self._method, run)

    def _method(self, run: Run) -> None:
        """The chosen method; on a model without a usable gradient the default one, and says so."""
        config = self._config(run.problem.steps)
        try:
            METHODS[config.method].run(run, config)
        except RuntimeError as error:
            if not METHODS[config.method].gradient or not is_autograd(error):
                raise
            run.tell(f"{error} The search goes on with 'fit'.")
            self.config = replace(self.config, method="fit")
            run.budget = Budget(run.model_calls + run.budget.model_calls)
            METHODS["fit"].run(run, replace(config, method="fit"))

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
        calls = int(self._whole_budget)
        proof = proof_calls(self._setup, session, [steps for steps, _ in self._order[1:]])
        needed = session.activation_bytes + 2 * x.nbytes
        info = METHODS[self.config.method]
        seconds = each * (calls * info.pace + proof)
        return Estimate(calls, proof, seconds, problem.batch, needed, info.gradient)

    @cached_property
    def _names(self) -> dict[int, str]:
        """Names of the presets by their number of steps, that of `config` first."""
        return {self.config.steps: self.name, **self.more}

    @property
    def _order(self) -> list[tuple[int, int | None]]:
        return outwards(self._names)

    @property
    def _whole_budget(self) -> float:
        return whole_budget(self.config.budget, len(self._names)).model_calls

    def _config(self, steps: int) -> SearchConfig:
        return replace(self.config, steps=steps)

    @property
    def _setup(self) -> Setup:
        """Starts and prompts of all members: those of the first one searched."""
        return Setup(self.latent, self._config(self._order[0][0]))

    @property
    def _prompts(self) -> int:
        """Prompts the search learns from."""
        held = count(self.guider.original_conds.values())
        return held - kept_prompts(held)

    def _prove(self, session: Session, found: list[Member]) -> list[Member]:
        """What is handed out, with its errors on seeds and prompts the search never saw, and with
        the CFG ranges in which it is better than the built-in settings."""
        strictest = max(found, key=lambda member: member.run.problem.steps).preset
        unseen, first, proved = Unseen(self._setup, session, strictest), None, []
        for preset, run in found:
            proof = self._proved(session, Member(preset, run), unseen, first)
            proved.append(Member(self._ranged(session, proof, run, later=bool(first)), run))
            first = first or proof
        return proved

    def _proved(self, session: Session, member: Member, unseen: Unseen,
                first: Proof | None) -> Proof:
        member.run.tell("measuring on unseen seeds")
        info = replace(member.preset.info, held_out_prompts=kept_prompts(session.prompts))
        proof = prove(self._setup, session, member.run, replace(member.preset, info=info),
                      unseen, first)
        self.on_improved(proof.preset)
        return proof

    def _ranged(self, session: Session, proof: Proof, run: Run, *, later: bool) -> Preset:
        if session.guidance is None or proof.preset.info.builtin:
            return proof.preset
        run.tell("measuring at other CFG scales")
        preset = ranged(self._setup, session, proof, later=later)
        self.on_improved(preset)
        return preset

    def _preset(self, solver: Solver, model: ModelFacts, run: Run) -> Preset:
        latent = first_medium(self.latent)
        *_, height, width = latent.shape
        teacher = METHODS[self.config.method].teacher.format(run.teacher_calls)
        info = PresetInfo(
            name=self._names[run.problem.steps], created=datetime.date.today().isoformat(),
            family=model.family, prediction=model.prediction,
            latent_channels=model.latent_channels, shift=model.shift,
            sigma_min=model.sigma_min, sigma_max=model.sigma_max, model_name=model.file_name,
            guidance=self.guidance, width=width, height=height, frames=_frames(latent),
            denoise=self.config.denoise if self.config.denoise < 1 else None,
            prompts=self._prompts,
            method=self.config.method, teacher=teacher,
            trajectories=run.problem.fit, model_calls=run.model_calls,
            seconds=round(run.seconds, 1), seed=self.config.seed, tool_version=VERSION,
            torch_version=str(torch.__version__))
        return Preset(solver, info)


def _frames(latent: Tensor) -> int:
    return latent.shape[2] if latent.ndim == 5 else 0
