"""Every tableau against ComfyUI's own sampler function, and against independent derivations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from solver_search.forms import alpha, denoised_steps, increments
from solver_search.sample import sample
from solver_search.solver import Solver
from solver_search.tableaus import TABLEAUS, steps_for_calls
from tests.problems import Counted, mixture

# Both run in float64 over at most 23 calls with states up to 15 in size; found 3e-14 at most.
ROUNDING = 3e-13
# ComfyUI's deis sums 10000 points, both ends included: relative error about 1e-4 (found 2e-4).
DEIS_QUADRATURE = 5e-4
# ComfyUI's UniPC subtracts alpha^2 from 1, down to 1e-6 at its last sigma: 1e-16 / 1e-6 of it.
UNI_PC_CANCELLATION = 1e-10
TOLERANCE = {"deis": DEIS_QUADRATURE, "uni_pc": UNI_PC_CANCELLATION,
             "uni_pc_bh2": UNI_PC_CANCELLATION}
SCHEDULES = ("karras", "simple", "open karras", "shift 1", "shift 3", "part of shift 3",
             "open shift 3")  # open: without the 0 at the end
SAMPLERS = ("euler", "ddim", "heun", "lms", "ipndm", "ipndm_v", "deis", "dpmpp_2m", "dpmpp_2s",
            "dpmpp_3m", "res_multistep", "gradient_estimation", "uni_pc", "uni_pc_bh2")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """ComfyUI's UniPC makes tensors of the default dtype, so float64 has to be the default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def model_sampling(comfy: ModuleType, schedule: str) -> torch.nn.Module:
    """ComfyUI's own, as SD1.5 and SD3 have it."""
    kind, settings = comfy.model_base.ModelType.EPS, {}
    if "shift" in schedule:
        kind, settings = comfy.model_base.ModelType.FLOW, {"shift": float(schedule.split()[-1])}
    config = SimpleNamespace(sampling_settings=settings)
    return comfy.model_base.model_sampling(config, kind)


def schedule_of(comfy: ModuleType, schedule: str, steps: int) -> Tensor:
    scheduler = "karras" if "karras" in schedule else "simple"
    skipped, dropped = (2 * schedule.startswith("part"), 1 * schedule.startswith("open"))
    model = model_sampling(comfy, schedule)
    sigmas = comfy.samplers.calculate_sigmas(model, scheduler, steps + skipped + dropped)
    return sigmas.double()[skipped : steps + skipped + 1]


def comfy_model(comfy: ModuleType, schedule: str, denoise: Callable) -> Counted:
    """A denoiser with what samplers look for on it: real model_sampling, real ModelPatcher."""
    module = torch.nn.Module()
    module.model_sampling = model_sampling(comfy, schedule)
    device = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(module, device, device)
    model = Counted(denoise)
    model.inner_model = SimpleNamespace(inner_model=module, model_patcher=patcher)
    return model


def run_comfy(comfy: ModuleType, name: str, model: Counted, x: Tensor, sigmas: Tensor) -> Tensor:
    kwargs = {"disable": True, "extra_args": {}}
    if name.startswith("uni_pc"):  # by sampler name, and it writes into the sigmas
        kwargs["callback"] = None
        function = comfy.samplers.sampler_object(name).sampler_function
        return function(model, x, sigmas.clone(), **kwargs)
    called = {"ddim": "euler", "dpmpp_2s": "dpmpp_2s_ancestral", "dpmpp_3m": "dpmpp_3m_sde"}
    if name in ("dpmpp_2s", "dpmpp_3m"):
        kwargs |= {"eta": 0.0, "noise_sampler": lambda *_: torch.zeros_like(x)}
    function = getattr(comfy.k_diffusion.sampling, f"sample_{called.get(name, name)}")
    return function(model, x, sigmas, **kwargs)


def build(name: str, sigmas: Tensor, schedule: str) -> Solver:
    flow = "shift" in schedule
    if name == "dpmpp_3m" and flow:
        return TABLEAUS[name](sigmas, flow=True, shift=float(schedule.split()[-1]))
    return TABLEAUS[name](sigmas, flow=flow)


def start_state(solver: Solver) -> Tensor:
    noise = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(5))
    return noise * solver.sigmas[0] + 0.3 * alpha(solver.sigmas, flow=solver.flow)[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_same_as_comfyui(comfy: ModuleType, name: str, schedule: str) -> None:
    for steps in range(3, 13):
        sigmas = schedule_of(comfy, schedule, steps)
        solver = build(name, sigmas, schedule)
        compare(comfy, name, schedule, sigmas, solver)


def compare(comfy: ModuleType, name: str, schedule: str, sigmas: Tensor, solver: Solver) -> None:
    """Every point and sigma the model is called at, and the result."""
    problem = mixture(flow=solver.flow)
    theirs, ours = comfy_model(comfy, schedule, problem.denoise), Counted(problem.denoise)
    x = start_state(solver)
    expected = run_comfy(comfy, name, theirs, x, sigmas)
    found = sample(ours, solver, x)
    tolerance = TOLERANCE.get(name, ROUNDING)
    assert len(ours.points) == len(theirs.points) == solver.nfe
    for i, point in enumerate(theirs.points):
        close(ours.points[i], point, tolerance)
        close(ours.sigmas[i].expand(2), theirs.sigmas[i].expand(2), ROUNDING)
    close(found, expected, tolerance)


def close(found: Tensor, expected: Tensor, tolerance: float = ROUNDING) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_every_tableau_with_a_comfyui_name_is_compared(comfy: ModuleType) -> None:
    assert set(TABLEAUS) - set(SAMPLERS) == {
        "ab2", "ab3", "ab4", "denoised_ab2", "denoised_ab3", "flow_ab2"}


def test_deis_differs_from_comfyui_by_its_quadrature_only(comfy: ModuleType) -> None:
    sigmas = schedule_of(comfy, "karras", 8)
    exact = increments(TABLEAUS["deis"](sigmas, flow=False))
    gaps = [deis_gap(comfy, sigmas, exact, points) for points in (10_000, 100_000)]
    # First-order quadrature: ten times the points, ten times closer (found 10.001). ComfyUI's
    # float32 VP constants would show at about 1e-8.
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.01)


def deis_gap(comfy: ModuleType, sigmas: Tensor, exact: Tensor, points: int) -> float:
    rows = comfy.k_diffusion.deis.get_deis_coeff_list(sigmas, 3, N=points)
    gaps = [torch.stack(row).detach() - exact[n, n + 1 - len(row) : n + 1].flip(0)
            for n, row in enumerate(rows[:-1]) if row]
    return max(float(gap.abs().max()) for gap in gaps)


def polynomial_steps() -> Tensor:
    """An uneven schedule that stays above 0."""
    return torch.tensor([0.95, 0.8, 0.72, 0.5, 0.41, 0.2, 0.13])


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("order", (2, 3, 4))
def test_adams_bashforth_from_vandermonde(order: int, flow: bool) -> None:
    """Rows that integrate 1, s, ..., s^(order - 1) over [0, 1] from values at 0, -1, ..."""
    times = -torch.arange(order, dtype=torch.float64)
    powers = torch.arange(order)
    row = torch.linalg.solve(times[None] ** powers[:, None], 1 / (powers + 1.0))
    steps = torch.linspace(0.9, 0.1, 7)
    for name in {2: ("ab2",), 3: ("ab3",), 4: ("ab4", "ipndm", "lms")}[order]:
        solver = TABLEAUS[name](steps, flow=flow)
        close(increments(solver)[-1, -order:].flip(0) / (steps[-1] - steps[-2]), row)


@pytest.mark.parametrize("flow", (False, True))
def test_ipndm_v_at_equal_steps(flow: bool) -> None:
    """Orders 2 and 3 are Adams-Bashforth there, order 4 is not; the start is kept as it is."""
    solver = TABLEAUS["ipndm_v"](torch.linspace(0.9, 0.1, 7), flow=flow)
    rows = increments(Solver(solver.sigmas, solver.weights, flow)) / solver.sigmas.diff()[:, None]
    close(solver.start, torch.ones(6))
    close(rows[1, :2], torch.tensor([-1, 3]) / 2)
    close(rows[2, :3], torch.tensor([5, -16, 23]) / 12)
    close(rows[5, 2:], torch.tensor([-11, 43, -65, 57]) / 24)


@pytest.mark.parametrize("flow", (False, True))
def test_lms_integrates_cubics(flow: bool) -> None:
    sigmas = polynomial_steps()
    rows = increments(TABLEAUS["lms"](sigmas, flow=flow))
    for power in range(4):
        exact = (sigmas[1:] ** (power + 1) - sigmas[:-1] ** (power + 1)) / (power + 1)
        close((rows @ sigmas[:-1] ** power)[power:], exact[power:])


def test_dpmpp_2m_closed_form() -> None:
    sigmas = polynomial_steps()
    h = sigmas.log().neg().diff()
    _, rows = denoised_steps(TABLEAUS["dpmpp_2m"](sigmas, flow=False))
    ratio = h[:-1] / h[1:]
    mix = -torch.expm1(-h[1:])
    close(rows.diagonal()[1:], mix * (1 + 1 / (2 * ratio)))
    close(rows.diagonal(-1), -mix / (2 * ratio))


@pytest.mark.parametrize(("name", "flow", "degree"), (
    ("res_multistep", False, 1), ("dpmpp_3m", False, 1), ("dpmpp_3m", True, 1)))
def test_exponential_rows_integrate_polynomials(name: str, flow: bool, degree: int) -> None:
    """For D = lambda^k the step is alpha' times the integral of exp(l - lambda') D(l) dl."""
    sigmas = polynomial_steps()
    lambdas = -torch.logit(sigmas) if flow else -sigmas.log()
    _, rows = denoised_steps(TABLEAUS[name](sigmas, flow=flow))
    alphas = alpha(sigmas, flow=flow)
    for power in range(degree + 1):
        for n in range(power, len(rows)):
            found = rows[n] @ lambdas[:-1] ** power
            close(found, alphas[n + 1] * weighted_integral(lambdas[n], lambdas[n + 1], power))


def weighted_integral(start: Tensor, end: Tensor, power: int) -> Tensor:
    """By parts: I_k = [l^k exp(l - end)] - k I_(k-1)."""
    edge = end**power - start**power * (start - end).exp()
    return edge if power == 0 else edge - power * weighted_integral(start, end, power - 1)


def schedule_to_zero(steps: int) -> Tensor:
    return torch.linspace(0.95, 0, steps + 1) ** 1.3


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", TABLEAUS)
def test_rows_sum_to_one(name: str, flow: bool) -> None:
    for steps in (1, 2, 3, 6, 30):
        solver = TABLEAUS[name](schedule_to_zero(steps), flow=flow)
        assert solver.consistent == (name != "ipndm_v")
        if solver.consistent:
            close(solver.weights.sum(dim=1), torch.ones(solver.nfe))


@pytest.mark.parametrize("name", TABLEAUS)
def test_steps_for_calls_is_the_most_that_fits(name: str) -> None:
    for calls in range(1, 13):
        steps = steps_for_calls(name, calls)
        used, more = (TABLEAUS[name](schedule_to_zero(n), flow=True).nfe
                      for n in (steps, steps + 1))
        assert used <= calls < more


def test_steps_for_calls_refuses() -> None:
    with pytest.raises(ValueError, match="at least 1, found 0"):
        steps_for_calls("euler", 0)
    with pytest.raises(KeyError, match="No tableau is called 'eular'"):
        steps_for_calls("eular", 4)


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", TABLEAUS)
def test_builders_are_differentiable_in_sigmas(name: str, flow: bool) -> None:
    sigmas = schedule_to_zero(5)[:-1].requires_grad_()

    def weights(moved: Tensor) -> Tensor:
        return TABLEAUS[name](torch.cat([moved, torch.zeros(1)]), flow=flow).weights

    assert torch.autograd.gradcheck(weights, sigmas)


@pytest.mark.parametrize("name", TABLEAUS)
def test_gradients_are_finite_from_sigma_one(name: str) -> None:
    sigmas = torch.linspace(1, 0, 6).requires_grad_()
    TABLEAUS[name](sigmas, flow=True).weights.square().sum().backward()
    assert sigmas.grad.isfinite().all()


@pytest.mark.parametrize("last", (1e-3, 3e-4))
@pytest.mark.parametrize("name", ("uni_pc", "uni_pc_bh2"))
def test_uni_pc_never_rises_to_its_end(name: str, last: float) -> None:
    """Some schedules go to or below 0.001 before 0; the last step is then empty."""
    solver = TABLEAUS[name](torch.tensor([1.0, 0.5, 0.1, last, 0.0]), flow=True)
    assert solver.sigmas[-1] == last
    close(solver.weights.sum(dim=1), torch.ones(4))
