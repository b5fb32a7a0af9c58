"""Solver, its forms and the loop: refusals, consistency, calls, history, gradients."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from solver_search.forms import (
    alpha,
    denoised_steps,
    from_denoised_rows,
    from_increments,
    increments,
    reach,
)
from solver_search.plan import Plan, plan_of
from solver_search.sample import DivergedError, sample
from solver_search.solver import Solver, SolverError
from solver_search.tableaus import TABLEAUS
from tests.problems import Counted, gaussian, mixture

ROUNDING = 1e-12  # float64 over at most 60 calls, states up to 15 in size, weights up to about 10
CONSISTENT = tuple(name for name in TABLEAUS if name != "ipndm_v")
KEPT = {"euler": 1, "ddim": 1, "heun": 2, "ab2": 2, "ab3": 3, "ab4": 4, "lms": 4, "ipndm": 4,
        "deis": 3, "dpmpp_2m": 2, "dpmpp_2s": 2, "dpmpp_3m": 3, "res_multistep": 2,
        "gradient_estimation": 2, "uni_pc": 4, "uni_pc_bh2": 4}
SIGMAS = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def schedule(steps: int, *, flow: bool) -> Tensor:
    """Uneven, ending in 0, from 1 (flow) or 14.6 (eps)."""
    share = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return 3 * share / (1 + 2 * share) if flow else 14.6 * share**3


def states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def close(found: Tensor, expected: Tensor, tolerance: float = ROUNDING) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


REFUSALS = {
    "sigmas must be a tensor of numbers, found list": dict(sigmas=[1.0, 0.5, 0.0]),
    "weights holds NaN or infinity": dict(weights=doubles(1, 0, float("nan"), 1).view(2, 2)),
    "sigmas must be a list of 2 to 1025 numbers, found shape (1,)": dict(sigmas=doubles(1)),
    "weights must have shape (2, 2) to go with 3 sigmas, found (3, 3)": dict(
        weights=torch.eye(3)),
    "mean_weights must have shape (2, 2) to go with 3 sigmas, found (3, 3)": dict(
        beside={"mean_weights": torch.eye(3)}),
    "mean_weights must be lower-triangular": dict(
        beside={"mean_weights": doubles(0, 1, 0, 1).view(2, 2)}),
    "mean_weights must stay within 10000 in size, found 20000": dict(
        beside={"mean_weights": doubles(1, 0, -19999, 20000).view(2, 2)}),
    "each row of mean_weights must sum to 1 within 0.0001, row 0 sums to 2": dict(
        beside={"mean_weights": doubles(2, 0, 0, 1).view(2, 2)}),
    "start must have shape (2,) to go with 3 sigmas, found (3,)": dict(start=torch.ones(3)),
    "model_sigmas must have shape (2,)": dict(model_sigmas=torch.ones(3)),
    "sigmas must be positive (the last may be 0), found [1, 0, 0]": dict(sigmas=doubles(1, 0, 0)),
    "sigmas must never rise, found [0.5, 1, 0]": dict(sigmas=doubles(0.5, 1, 0)),
    "sigmas of a flow model end at 1, found 14.6": dict(sigmas=doubles(14.6, 0.5, 0)),
    "weights must be lower-triangular": dict(weights=doubles(0, 1, 0, 1).view(2, 2)),
    "weights must stay within 10000 in size, found 20000": dict(
        weights=doubles(1, 0, -19999, 20000).view(2, 2)),
    "each row of weights must sum to 1 within 0.0001, row 1 sums to 0.9": dict(
        weights=doubles(1, 0, 0, 0.9).view(2, 2)),
    "start must lie in (0.1, 10.0), found [1, 11]": dict(start=doubles(1, 11)),
    "model_sigmas must be positive, found [1, 0]": dict(model_sigmas=doubles(1, 0)),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusals(sentence: str) -> None:
    fields = dict(sigmas=SIGMAS, weights=EYE, flow=True) | REFUSALS[sentence]
    with pytest.raises(SolverError) as caught:
        Solver(**fields)
    assert str(caught.value).startswith(sentence)


def test_a_solver_is_frozen_float64_on_the_cpu() -> None:
    solver = Solver(SIGMAS.float(), EYE.half(), True)
    assert solver.sigmas.dtype == solver.weights.dtype == torch.float64
    assert (solver.nfe, plan_of(solver).order, solver.consistent) == (2, 1, True)
    with pytest.raises(AttributeError):
        solver.flow = False


def test_free_rows_need_not_sum_to_one() -> None:
    weights = doubles(1, 0, 0.2, 0.9).view(2, 2)
    assert not Solver(SIGMAS, weights, True, start=doubles(1.01, 1)).consistent


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", TABLEAUS)
def test_calls_are_counted(name: str, flow: bool) -> None:
    solver = TABLEAUS[name](schedule(6, flow=flow), flow=flow)
    denoise = Counted(mixture(flow=flow).denoise)
    visited: list[Tensor] = []
    seen: list[int] = []
    result = sample(denoise, solver, states(2, 1, 4), lambda n, x, d: seen.append(n),
                    states=visited)
    assert len(denoise.points) == solver.nfe == len(visited) - 1
    assert seen == list(range(solver.nfe))
    assert visited[-1] is result
    close(torch.stack(denoise.sigmas), solver.sigmas[:-1])


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", CONSISTENT)
def test_constant_picture_and_pure_noise_are_exact(name: str, flow: bool) -> None:
    solver = TABLEAUS[name](schedule(8, flow=flow), flow=flow)
    picture, noise = states(2, 1, 3), states(2, 1, 3).flip(0)
    share = alpha(solver.sigmas, flow=flow)
    start = share[0] * picture + solver.sigmas[0] * noise
    visited: list[Tensor] = []
    sample(lambda x, sigma: picture, solver, start, states=visited)
    for n, state in enumerate(visited):
        close(state, share[n] * picture + solver.sigmas[n] * noise)


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", TABLEAUS)
def test_a_linear_denoiser_gives_a_linear_map(name: str, flow: bool) -> None:
    solver = TABLEAUS[name](schedule(6, flow=flow), flow=flow)
    first, second = states(2, 1, 1, 5)
    run = [sample(lambda x, sigma: x / (1 + sigma), solver, x)
           for x in (first, second, 2 * first - 3 * second)]
    close(run[2], 2 * run[0] - 3 * run[1])


@pytest.mark.parametrize("name", TABLEAUS)
def test_a_batch_equals_its_singles(name: str) -> None:
    solver = TABLEAUS[name](schedule(6, flow=True), flow=True)
    x, denoise = states(3, 1, 4), mixture(flow=True).denoise
    together = sample(denoise, solver, x)
    close(together, torch.cat([sample(denoise, solver, one[None]) for one in x]))


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", TABLEAUS)
def test_unit_vectors_give_the_table_back(name: str, flow: bool) -> None:
    """With D[j] the j-th unit vector and start 0 each state is its row of the table."""
    solver = TABLEAUS[name](schedule(5, flow=flow), flow=flow)
    units = iter(torch.eye(solver.nfe, dtype=torch.float64))
    visited: list[Tensor] = []
    sample(lambda x, sigma: next(units)[None], solver,
           torch.zeros(1, solver.nfe, dtype=torch.float64), states=visited)
    expected = solver.weights * reach(solver.sigmas, flow=flow)[:, None]
    close(torch.cat(visited[1:]), expected)


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", CONSISTENT)
def test_both_step_forms_are_the_same_sampler(name: str, flow: bool,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    sigmas, x = schedule(7, flow=flow), states(1, 1, 6) * (1 if flow else 14.6)
    results = []
    for direction in (False, True):
        solver = TABLEAUS[name](sigmas, flow=flow)
        ones, called = torch.ones(solver.nfe, dtype=torch.float64), [True] * solver.nfe
        plan = (Plan(ones, increments(solver), called, True) if direction
                else Plan(*denoised_steps(solver), called, False))
        monkeypatch.setattr("solver_search.sample.plan_of", lambda solver, plan=plan: plan)
        results.append(sample(mixture(flow=flow).denoise, solver, x))
    close(*results)


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", CONSISTENT)
def test_forms_come_back(name: str, flow: bool) -> None:
    """Table to direction rows to table, and to denoised rows to table, where these exist."""
    solver = TABLEAUS[name](schedule(7, flow=flow), flow=flow)
    close(from_increments(solver.sigmas, increments(solver), flow=flow).weights, solver.weights)
    ratio, rows = denoised_steps(solver)
    if (solver.sigmas.diff() < 0).all():  # a zero-length row has no normalised form
        normal = rows / (1 - ratio)[:, None]
        again = from_denoised_rows(solver.sigmas, normal, flow=flow)
        close(again.weights, solver.weights)


@pytest.mark.parametrize("steps", (8, 50))
@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", KEPT)
def test_history_is_bounded(name: str, flow: bool, steps: int) -> None:
    solver = TABLEAUS[name](schedule(steps, flow=flow), flow=flow)
    assert plan_of(solver).kept == plan_of(solver).order == KEPT[name]


def test_euler_from_the_widest_range_keeps_one_output() -> None:
    """Zero-terminal-SNR models start at sigma 4519: recursions must not leave rounding behind."""
    sigmas = torch.cat([torch.logspace(3.655, -1.5, 60, dtype=torch.float64), doubles(0)])
    for name in ("euler", "ab2", "dpmpp_2m"):
        assert plan_of(TABLEAUS[name](sigmas, flow=False)).kept == KEPT[name]


def test_a_table_with_full_rows_uses_them_all() -> None:
    weights = torch.ones(4, 4, dtype=torch.float64).tril()
    weights = weights / weights.sum(dim=1, keepdim=True)
    solver = Solver(schedule(4, flow=True), weights, True)
    assert plan_of(solver).kept >= 2
    close(from_increments(solver.sigmas, increments(solver), flow=True).weights, weights)


def test_model_sigmas_are_what_the_model_is_told() -> None:
    told = doubles(0.9, 0.6)
    denoise = Counted(gaussian(flow=True).denoise)
    sample(denoise, Solver(SIGMAS, EYE, True, model_sigmas=told), states(1, 1, 2))
    close(torch.stack(denoise.sigmas), told)


def test_start_scales_the_noise_only() -> None:
    sigmas, start = doubles(1, 0.6, 0.2), doubles(1.1, 0.9)
    picture, x = states(1, 1, 3), states(1, 1, 3).flip(2)
    free = Solver(sigmas, EYE, True, start=start)
    visited: list[Tensor] = []
    sample(lambda x, sigma: picture, free, x, states=visited)
    for n in (1, 2):
        close(visited[n], start[n - 1] * sigmas[n] * x + (1 - sigmas[n]) * picture)


def test_diverging_is_reported_with_its_step() -> None:
    answers = iter((torch.zeros(1, 1, 2), torch.full((1, 1, 2), float("nan"))))
    with pytest.raises(DivergedError, match="step 2 of 2"):
        sample(lambda x, sigma: next(answers), Solver(SIGMAS, EYE, True), torch.zeros(1, 1, 2),
               check=True)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_the_state_keeps_its_dtype(dtype: torch.dtype) -> None:
    denoise = Counted(gaussian(flow=True).denoise)
    solver = TABLEAUS["heun"](schedule(4, flow=True), flow=True)
    result = sample(denoise, solver, states(1, 1, 3).to(dtype))
    kinds = {t.dtype for t in (result, *denoise.points, *denoise.sigmas)}
    assert kinds == {dtype}


@pytest.mark.parametrize("flow", (False, True))
def test_euler_in_float32_is_comfyui_bit_for_bit(comfy: ModuleType, flow: bool) -> None:
    """The table is float64 until its one cast, which gives ComfyUI's float32 steps exactly."""
    sigmas, denoise = schedule(20, flow=flow).float(), mixture(flow=flow).denoise
    x = (states(2, 4, 8, 8) * sigmas[0]).float()
    theirs = comfy.k_diffusion.sampling.sample_euler(
        lambda x, sigma: denoise(x, sigma[0]), x, sigmas, disable=True)
    assert torch.equal(sample(denoise, TABLEAUS["euler"](sigmas, flow=flow), x), theirs)


def moved(name: str, sigmas: Tensor, change: Tensor, *, flow: bool) -> Solver:
    """The tableau's solver with its weights moved so that rows still sum to 1."""
    solver = TABLEAUS[name](torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)]), flow=flow)
    change = change.tril()
    balanced = change - torch.diag(change.sum(dim=1))
    return Solver(solver.sigmas, solver.weights + balanced, flow)


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", ("euler", "ab3", "dpmpp_2m", "uni_pc"))
def test_gradients_of_the_result(name: str, flow: bool) -> None:
    sigmas = (schedule(4, flow=flow)[:-1] * 0.9).requires_grad_()  # room to move below 1
    change = (0.01 * states(4, 4)).requires_grad_()
    denoise, x = mixture(flow=flow).denoise, states(1, 1, 2)

    def result(sigmas: Tensor, change: Tensor) -> Tensor:
        return sample(denoise, moved(name, sigmas, change, flow=flow), x)

    assert torch.autograd.gradcheck(result, (sigmas, change))


def test_gradients_of_free_rows() -> None:
    weights, start = EYE.clone().requires_grad_(), doubles(1.05, 0.9).requires_grad_()
    told = doubles(0.9, 0.6).requires_grad_()
    denoise, x, sigmas = mixture(flow=True).denoise, states(1, 1, 2), doubles(1, 0.5, 0.2)

    def result(weights: Tensor, start: Tensor, told: Tensor) -> Tensor:
        return sample(denoise, Solver(sigmas, weights.tril(), True, start, told), x)

    assert torch.autograd.gradcheck(result, (weights, start, told))


def shifted(sigmas: Tensor, shift: float) -> Tensor:
    return shift * sigmas / (1 + (shift - 1) * sigmas)


@pytest.mark.parametrize("name", ("euler", "dpmpp_2s", "dpmpp_3m"))
def test_weights_do_not_change_with_the_shift(name: str) -> None:
    """A shift adds a constant to log((1 - sigma) / sigma), of which these are made."""
    sigmas = torch.linspace(0.97, 0, 8, dtype=torch.float64)
    one, three = (TABLEAUS[name](shifted(sigmas, shift), flow=True) for shift in (1, 3))
    close(one.weights, three.weights)


def test_weights_of_dpmpp_3m_from_sigma_one_follow_its_shift() -> None:
    """ComfyUI's stand-in for sigma 1 is the shifted one of shift 1, so it moves along."""
    sigmas = torch.linspace(1, 0, 8, dtype=torch.float64)
    one, three = (TABLEAUS["dpmpp_3m"](shifted(sigmas, shift), flow=True, shift=shift)
                  for shift in (1, 3))
    # lambda of 0.9999 and of its shift come from 1 - sigma, 1e-4 and 3e-5: rounding 1e-16 / 3e-5.
    close(one.weights, three.weights, 1e-11)


def test_direction_rows_and_comfyuis_dpmpp_2m_do_change_with_the_shift() -> None:
    """Its lambda is -log(sigma): the reason why weights are stored and rules are not."""
    sigmas = torch.linspace(0.97, 0, 8, dtype=torch.float64)
    for name in ("dpmpp_2m", "ab2"):
        one, three = (TABLEAUS[name](shifted(sigmas, shift), flow=True) for shift in (1, 3))
        assert (one.weights - three.weights).abs().max() > 0.01


@pytest.mark.parametrize("flow", [True, False])
def test_an_output_that_no_row_reads_is_not_computed(flow: bool) -> None:
    """Rows 0 of 3 empty: two model calls, the same states as from the second level on."""
    sigmas = schedule(3, flow=flow)
    later = TABLEAUS["dpmpp_2m"](sigmas[1:], flow=flow)
    ratio = sigmas[2:] / sigmas[1:-1]
    rows = denoised_steps(later)[1] / (1 - ratio)[:, None]
    whole = torch.block_diag(torch.zeros(1, 1, dtype=torch.float64), rows)
    solver = from_denoised_rows(sigmas, whole, flow=flow, start=torch.ones(3))
    counted, x, seen = Counted(gaussian(flow=flow).denoise), states(2, 3) * sigmas[0], []
    end = sample(counted, solver, x, lambda row, state, denoised: seen.append(denoised))
    assert (solver.steps, solver.nfe, len(counted.points), len(seen)) == (3, 2, 2, 3)
    assert (seen[0] == 0).all()
    close(end, sample(gaussian(flow=flow).denoise, later, x * (sigmas[1] / sigmas[0])))
