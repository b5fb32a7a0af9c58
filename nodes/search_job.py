"""One search request from start to finish: problem, searches, evidence, what to remember of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..presets.preset import Preset, PresetInfo
from ..solver_search.config import METHODS, SearchConfig
from ..solver_search.family import begun_from, outwards, share, whole_budget
from ..solver_search.ranks import ALONE, RankLost, Ranks
from ..solver_search.records import Records, State
from ..solver_search.run import Run, search
from ..solver_search.search import (
    STOPPED,
    Budget,
    Event,
    GradientError,
    Problem,
    SearchStopped,
    is_autograd,
)
from ..solver_search.solver import Solver
from .comfy_bridge.memory import is_out_of_memory
from .comfy_bridge.model import ModelFacts, facts, is_compiled
from .comfy_bridge.prompts import count
from .comfy_bridge.session import Guider, Session, within
from .estimate import Estimate, estimated
from .found import journal_key
from .journals import Journal, OtherSearch, opened
from .proof import Proof, Unseen, proof_calls, prove, ranged
from .repeatable import check_memoryless
from .said import in_words
from .search_setup import Setup
from .search_setup import unseen as kept_prompts
from .stated import stated
from .together import Together

# After these the best so far is handed out: a model and its patches are other people's code, which
# may raise anything. A cancelled job is none of them.
FAILURES = (Exception,)
log = logging.getLogger("solver-search")


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
        key: of all that the search depends on, for the preset.
        on_event: told of every offer and phase; calls are those of all members together.
        on_call: told the model calls spent on all members.
        on_measured: told the model calls spent on measuring.
        on_estimate: told the cost before the search starts.
        on_improved: given every better preset at once, so that nothing is lost; unfinished until
            it is measured.
        on_pictures: given steps, and (1, C, ...) ends of one start that nothing was learned on:
            of the best solver, and of the reference; of the first medium, in the model's units.
        stop: asked before every model call: whether to end and keep what there is.
        on_resumed: told the model calls of an earlier search of the same kind that was ended and
            now goes on, where there was one.
        journals: folder of the journals from which searches go on; None: none is kept.
        saved: asked at the end: whether the presets are where they shall be; else the journal
            stays.
        ranks: the processes that share search and measuring; each has a Job of its own, and
            rank 0 alone tells and saves.

    `warnings` then holds what did not go as asked for, `stopped` whether somebody ended it.
    """

    guider: Guider
    latent: Tensor
    config: SearchConfig
    guidance: float
    name: str
    more: Mapping[int, str] = field(default_factory=dict)
    key: str = ""
    on_event: Callable[[Event], None] = lambda event: None
    on_call: Callable[[int], None] = lambda calls: None
    on_measured: Callable[[int], None] = lambda calls: None
    on_estimate: Callable[[Estimate], None] = lambda estimate: None
    on_improved: Callable[[Preset], None] = lambda preset: None
    on_pictures: Callable[[int, Tensor, Tensor], None] = lambda steps, now, reference: None
    stop: Callable[[], bool] = lambda: False
    on_resumed: Callable[[int], None] = lambda calls: None
    journals: Path | None = None
    saved: Callable[[], bool] = lambda: True
    ranks: Ranks = ALONE
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False
    broken: bool = False
    measured: int = 0
    records: Records = field(default_factory=Records)
    _journal: Journal | None = None
    _most: int = 0  # pictures in a model call; 0: as many as asked for

    def run(self) -> list[Member]:
        """Search, then measure on unseen seeds, unless somebody stops it or the model fails.

        Returns:
            the presets, that of `config` first, each with the others as its siblings.

        Raises:
            SearchStopped: stopped before there was any solver.
            SearchError: when the model cannot be searched; interrupts pass through. Either way
                on_improved has been given the best so far.
            PresetError: for a setting that a preset cannot state; nothing was called then.
        """
        if self.ranks.rank:  # the first one tells
            self.on_event = self.on_call = self.on_measured = self.on_estimate = _nothing
            self.on_improved = self.on_resumed = self.on_pictures = _nothing
        key = journal_key(self.key, self.guider, self.latent) if self.key else ""
        wanted = key and self.ranks.rank == 0
        with opened(self.journals if wanted else None, key, self.warnings) as journal:
            self._journal = journal if isinstance(journal, Journal) else None
            self.records = journal if self.ranks.alone else Together(self.ranks, journal)
            self.records.meter = self
            found = self._recorded()
            whole = all(not member.preset.info.state for member in found)
            if self._journal is not None and whole:
                self._journal.finished = self.saved()
            return found

    def _recorded(self) -> list[Member]:
        """Go on from the records there are; those of another search are thrown away."""
        asked = self.config
        try:
            return self._run()
        except OtherSearch as error:
            log.warning("The journal of this search does not fit it: %s", error)
            self.warnings.append("The journal of an earlier search of this kind did not fit, and "
                                 "was thrown away; the search began anew.")
            if self._journal is not None:
                self._journal.clear()
            self.config, self.measured, self._most = asked, 0, 0
            return self._run()

    def _run(self) -> list[Member]:
        model = facts(self.guider.model_patcher)
        found = [Member(self._preset(run.best, model, run), run) for run in self.search()]
        if not self.stopped and not self.broken:
            found = within(self.guider, self.latent, lambda session: self._prove(session, found),
                           seed=self.config.seed)
        found.sort(key=lambda member: [*self._names].index(member.run.problem.steps))
        presets = [member.preset for member in found]
        return [Member(replace(own, siblings=tuple(p for p in presets if p is not own)), run)
                for own, run in found]

    def state(self) -> State:
        """See Meter."""
        return {"steps": 0, "calls": self.measured}

    def restore(self, state: State) -> None:
        """See Meter."""
        self.measured = int(state["calls"])
        self.on_measured(self.measured)

    def search(self) -> list[Run]:
        """Only the searches, in their order and without evidence; see run()."""
        model = facts(self.guider.model_patcher)
        for steps in self._names:
            self._info(model, steps)  # what a preset may not state is found before any call
        method = METHODS[self.config.method]
        return within(self.guider, self.latent, lambda session: self._search(session, model),
                      seed=self.config.seed, smooth=True, differentiable=method.gradient)

    def _search(self, session: Session, model: ModelFacts) -> list[Run]:
        self._attach(session)
        problem = self._setup.problem(session, model)
        check_memoryless(session, problem.starts[:1].to(session.device), model.dtype)
        self.on_estimate(self._estimate(session, problem))
        self._tell_resumed()
        found: dict[int, Run] = {}
        for steps, near in self._order:
            run = (Run(problem, self.config.budget, model_calls=self._setup.extra_calls(session))
                   if near is None else self._follower(session, found[near], steps))
            try:
                self._member(run, model, sum(r.model_calls for r in found.values()))
            except FAILURES as error:
                self._broke_off(error, run, found)
            self.stopped = run.stopped
            found |= {} if run.best is None else {steps: run}
            if self.stopped or self.broken:
                break
        self._note_memory(session)
        if not found:
            raise SearchStopped(STOPPED)
        if not self.stopped and not self.broken:
            for run in found.values():
                run.gather()  # the proof asks for all
        return list(found.values())

    def _attach(self, session: Session) -> None:
        """Let a session's measurements be dealt and recorded, and its room with them."""
        session.records, session.ranks = self.records, self.ranks
        if self._journal is not None:
            self._journal.room = session.room

    def _tell_resumed(self) -> None:
        if not self.ranks.alone:
            self.warnings.append(f"{self.ranks.size} processes searched together.")
        if self._journal is not None and self._journal.spent:
            self.warnings.append(f"Went on from where an earlier search had ended, after "
                                 f"{self._journal.spent:,} model calls.")
            self.on_resumed(self._journal.spent)

    def _broke_off(self, error: Exception, run: Run, found: Mapping[int, Run]) -> None:
        """The model failed; what there is goes on."""
        self._check_records(error)
        if run.best is None and not found:
            raise error
        self.broken, run.ended_by = True, "broke off"
        steps = f"for {run.problem.steps} steps " if self.more else ""
        self.warnings.append(f"The search {steps}broke off: {in_words(error)}")

    def _check_records(self, error: Exception) -> None:
        """Records that lead to a failure are not of this search."""
        if self._journal is not None and self._journal.replaying:
            raise OtherSearch(str(error)) from error

    def _note_memory(self, session: Session) -> None:
        self._most = session.room.most
        asked = self._setup.batch
        if self._most and self._most < asked:
            said = (f"Memory was short: the model worked on {self._most} instead of {asked} "
                    "pictures at a time.")
            self.warnings = [w for w in self.warnings if not w.startswith("Memory was")] + [said]

    def _follower(self, session: Session, neighbour: Run, steps: int) -> Run:
        schedules = self._setup_for(steps).schedules(session)
        others = [n for n, near in self._order if near is not None]
        return begun_from(neighbour, schedules, share(self.config.budget, steps, others))

    def _member(self, run: Run, model: ModelFacts, before: int) -> None:
        """One search, told of with the calls spent `before` it."""
        steps, reference = run.problem.steps, run.held_out[:1]

        def listen(event: Event) -> None:
            if event.improved:
                self.on_improved(self._preset(event.solver, model, run))
            phase = f"{steps} steps: {event.phase}" if self.more else event.phase
            self.on_event(replace(event, phase=phase, model_calls=before + event.model_calls))
            if event.improved and event.picture is not None:
                self.on_pictures(steps, *(run.problem.shown(x, reference) for x in (
                    event.picture, run.reference_of(reference))))

        run.on_event, run.on_call = listen, lambda calls: self.on_call(before + calls)
        run.stop, run.records, run.ranks = self.stop, self.records, self.ranks
        search(self._method, run)

    def _method(self, run: Run) -> None:
        """The chosen method; on a model without a usable gradient, or without the memory for one,
        the default one, and says so."""
        config, failed = self._config(run.problem.steps), ""
        try:
            METHODS[config.method].run(run, config)
        except (RuntimeError, MemoryError) as error:
            short = is_out_of_memory(error)
            if not METHODS[config.method].gradient or not (short or is_autograd(error)):
                raise
            failed = ("There is not enough memory for gradients." if short else str(error))
        if not failed:
            return
        run.agree()
        self.records.broken(GradientError(failed), run)
        said = f"{failed} The search goes on with 'fit'."
        run.tell(said)
        self.warnings.append(said)
        self.config = replace(self.config, method="fit")
        run.budget, run.stage = Budget(run.model_calls + run.budget.model_calls), "teacher"
        METHODS["fit"].run(run, replace(config, method="fit"))

    def _estimate(self, session: Session, problem: Problem) -> Estimate:
        proof = proof_calls(self._setup, session, [steps for steps, _ in self._order[1:]])
        return estimated(session, problem, int(self._whole_budget), proof,
                         METHODS[self.config.method])

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
        return self._setup_for(self._order[0][0])

    def _setup_for(self, steps: int) -> Setup:
        return Setup(self.latent, self._config(steps), is_compiled(self.guider.model_patcher))

    @property
    def _prompts(self) -> int:
        """Prompts the search learns from."""
        held = count(self.guider.original_conds.values())
        return held - kept_prompts(held)

    def _prove(self, session: Session, found: list[Member]) -> list[Member]:
        """What is handed out, with its errors on seeds and prompts the search never saw, and with
        the CFG ranges in which it is better than the built-in settings; what is not measured when
        somebody stops it, or the model fails, stays as it is."""
        proved = list(found)
        self._attach(session)
        session.room.most, session.on_call = self._most, self._measured
        try:
            for place, preset in self._proofs(session, found):
                proved[place] = Member(preset, found[place].run)
                self.on_improved(preset)
        except SearchStopped:
            self.stopped = True
        except FAILURES as error:
            self._check_records(error)
            self.broken = isinstance(error, RankLost)
            self.warnings.append(f"The result could not be measured: {in_words(error)}")
        self._note_memory(session)
        return proved

    def _proofs(self, session: Session, found: list[Member]) -> Iterator[tuple[int, Preset]]:
        """Each member's place and preset when its verdict is known, and again with its range."""
        strictest = max(found, key=lambda member: member.run.problem.steps).preset
        found[0].run.tell("measuring on unseen seeds")
        unseen, first = Unseen(self._setup, session, strictest), None
        for place, member in enumerate(found):
            proof = self._proved(session, member, unseen, first)
            yield place, proof.preset
            if session.guidance is not None and not proof.preset.info.builtin:
                member.run.tell("measuring at other CFG scales")
                yield place, ranged(self._setup, session, proof, later=bool(first))
            first = first or proof

    def _proved(self, session: Session, member: Member, unseen: Unseen,
                first: Proof | None) -> Proof:
        member.run.tell("measuring on unseen seeds")
        info = replace(member.preset.info, held_out_prompts=kept_prompts(session.prompts))
        proof = prove(self._setup, session, member.run, replace(member.preset, info=info),
                      unseen, first)
        self.on_pictures(member.run.problem.steps, *(session.canvas.parts(x[:1])[0] for x in (
            proof.end, proof.trial.reference)))
        done = replace(proof.preset, info=replace(proof.preset.info, state=""))
        return replace(proof, preset=done)

    def _measured(self, pictures: int) -> None:
        """A model call of the measuring was made."""
        self.measured += pictures
        self.on_measured(self.measured)
        if self.stop():
            raise SearchStopped(STOPPED)

    def _preset(self, solver: Solver, model: ModelFacts, run: Run) -> Preset:
        teacher = METHODS[self.config.method].teacher.format(run.teacher_calls)
        return Preset(solver, replace(
            self._info(model, run.problem.steps), teacher=teacher, trajectories=run.problem.fit,
            model_calls=run.model_calls, seconds=round(run.seconds, 1)))

    def _info(self, model: ModelFacts, steps: int) -> PresetInfo:
        """What is known before the search.

        Raises:
            PresetError: for what a preset cannot state.
        """
        config = self._config(steps)
        info = stated(model, self.latent, config, self._names[steps], self.guidance, self.key)
        shared = "" if self.ranks.alone else f", {self.ranks.size} processes"
        return replace(info, prompts=self._prompts, tool_version=info.tool_version + shared)


def _nothing(*_: object) -> None:
    """Nobody listens."""
