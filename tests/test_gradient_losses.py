"""Gradients through whole solver runs, and the losses and optimiser that use them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.gradient import edits_allowed, recomputed
from solver_search.losses import HUBER_DELTA, dss_loss, endpoint_huber, trajectory_mse
from solver_search.methods.dss import Lion
from solver_search.metrics import mean_and_interval, relative_errors
from solver_search.parameters import Parameters, Space, to_solver
from solver_search.sample import sample
from solver_search.solver import Solver

WIDTH = 3
STEPS = 4


def doubles(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


def plain_net(x: Tensor, sigma: Tensor) -> Tensor:
    """Two residual blocks and a time path, without edits in place."""
    h = torch.tanh(x @ doubles(WIDTH, WIDTH, seed=1)) * (1 + torch.sin(3 * sigma))
    h = h + torch.sin(2 * h)
    h = h + torch.tanh(h @ doubles(WIDTH, WIDTH, seed=2)) * h
    return x * torch.exp(-sigma) + 0.3 * h


def in_place_net(x: Tensor, sigma: Tensor) -> Tensor:
    """The same numbers as Flux and HunyuanVideo write them: residuals added in place."""
    h = torch.tanh(x @ doubles(WIDTH, WIDTH, seed=1)) * (1 + torch.sin(3 * sigma))
    h += torch.sin(2 * h)
    h += torch.tanh(h @ doubles(WIDTH, WIDTH, seed=2)) * h
    return x * torch.exp(-sigma) + 0.3 * h


def edited(x: Tensor) -> Tensor:
    """cos(3 x) + 6 x + 2 + cos(5 x), with an edit of what the first cosine saved; then a tensor
    that may have the id and the address of the edited one."""
    first = x * 3
    bent = first.cos()
    first += 1
    end = bent + first * 2
    del first, bent
    second = x * 5
    return end + second.cos()


def edited_elsewhere(x: Tensor) -> Tensor:
    """sin(x)^2 of the second half + 9 sin(x)^2, edited through the whole."""
    whole = torch.sin(x)
    half = whole[len(x) // 2:]
    squares = half * half
    whole *= 3
    return torch.cat([whole * whole, squares])


def test_gradients_are_those_of_activations_before_their_edits() -> None:
    """torch's own allow_mutation_on_saved_tensors mistakes a new tensor for an edited one that it
    takes the place of (14 of 2,000 here), and does not see edits through other views."""
    x = doubles(64).requires_grad_()
    right = -3 * torch.sin(3 * x) + 6 - 5 * torch.sin(5 * x)
    for _ in range(200):
        with edits_allowed():
            found, = torch.autograd.grad(edited(x).sum(), x)
        torch.testing.assert_close(found, right)
    factors = torch.tensor([9.0] * 32 + [10.0] * 32, dtype=torch.float64)
    with edits_allowed():
        found, = torch.autograd.grad(edited_elsewhere(x).sum(), x)
    torch.testing.assert_close(found, factors * torch.sin(2 * x))


class Copies(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: object, args: tuple = (),  # noqa: ANN401
                           kwargs: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        self.count += func is torch.ops.aten.clone.default
        return func(*args, **(kwargs or {}))


def test_what_several_operations_save_is_copied_once() -> None:
    x = doubles(8).requires_grad_()
    with Copies() as copies, edits_allowed():
        first = x * 3
        end = first.cos() + first.exp() * first.sin()
        first += 1
        first += 1
        torch.autograd.grad(end.sum(), x)
    assert copies.count == 1


def test_what_a_backward_pass_saved_is_let_go_with_its_graph() -> None:
    x = doubles(8).requires_grad_()
    with edits_allowed():
        first = x * 3
        saved, end = weakref.ref(first), (first * first).sum()
        first += 1
        torch.testing.assert_close(torch.autograd.grad(end, x)[0], 18 * x)
        del first, end
        assert saved() is None


def raw_numbers(*, flow: bool) -> list[Tensor]:
    count = 3 if flow else 4
    parts = [doubles(STEPS, size=0.3), doubles(STEPS, STEPS, seed=1, size=0.2),
             doubles(STEPS, seed=2, size=0.05), doubles(STEPS, seed=3, size=0.05)]
    return [t.requires_grad_() for t in (parts if count == 4 else [*parts[:2], parts[3]])]


def solver_of(tensors: list[Tensor], *, flow: bool) -> Solver:
    """Direction form on flow as DSS has it; everything free on eps."""
    if flow:
        steps, rows, scales = tensors
        space = Space(flow_clock(), True, "direction")
        return to_solver(Parameters(steps, rows, None, scales), space)
    return to_solver(Parameters(*tensors), Space(arcsinh_clock(5.0), False))


def run_loss(net: Callable[[Tensor, Tensor], Tensor], tensors: list[Tensor], *,
             flow: bool) -> Tensor:
    states: list[Tensor] = []
    x = doubles(2, WIDTH, seed=7, size=1 if flow else 5)
    sample(net, solver_of(tensors, flow=flow), x, states=states)
    return dss_loss(states[1:], [doubles(2, WIDTH, seed=8)] * STEPS)


@pytest.mark.parametrize("net", [plain_net, in_place_net])
@pytest.mark.parametrize("flow", [True, False])
def test_recomputed_calls_give_what_plain_autograd_gives(
        net: Callable[[Tensor, Tensor], Tensor], flow: bool) -> None:
    expected = run_loss(plain_net, tensors := raw_numbers(flow=flow), flow=flow)
    slopes = torch.autograd.grad(expected, tensors)
    loss = run_loss(recomputed(net), tensors := raw_numbers(flow=flow), flow=flow)
    ours = torch.autograd.grad(loss, tensors)
    assert torch.equal(loss.detach(), expected.detach())  # the same operations in the same order
    for one, two in zip(ours, slopes, strict=True):
        assert float(two.norm()) > 1e-3  # each raw tensor matters to this loss
        assert torch.allclose(one, two, rtol=1e-11, atol=1e-11)  # sums in another order


def test_plain_autograd_cannot_do_the_in_place_network() -> None:
    """Why the recomputation allows mutation: without it there is no gradient at all."""
    tensors = raw_numbers(flow=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(run_loss(in_place_net, tensors, flow=True), tensors)


class _Token:
    """Lives as long as the graph of its model call."""


class _Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, token: _Token) -> Tensor:  # noqa: ANN401
        ctx.token = token
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return gradient, None


def alive_graphs(wrap: Callable[..., Any]) -> tuple[list[int], int, int]:
    """(graphs alive before each call, graphs alive after the forward pass, calls made)."""
    tokens: list[weakref.ref] = []
    before: list[int] = []

    def alive() -> int:
        return sum(token() is not None for token in tokens)

    def net(x: Tensor, sigma: Tensor) -> Tensor:
        before.append(alive())
        token = _Token()
        tokens.append(weakref.ref(token))
        return _Marked.apply(plain_net(x, sigma), token)

    tensors = raw_numbers(flow=True)
    loss = run_loss(wrap(net), tensors, flow=True)
    after_forward = alive()
    torch.autograd.grad(loss, tensors)
    return before, after_forward, len(tokens)


def test_one_calls_activations_live_at_a_time() -> None:
    before, after_forward, calls = alive_graphs(recomputed)
    assert before == [0] * (2 * STEPS)
    assert (after_forward, calls) == (0, 2 * STEPS)  # once forward, once more backward
    plain, plain_after, _ = alive_graphs(lambda net: net)
    assert (plain[-1], plain_after) == (STEPS - 1, STEPS)  # that the counting can fail


def test_a_denoiser_that_ignores_an_input_has_zero_slope_there() -> None:
    x, sigma = doubles(2, WIDTH).requires_grad_(), torch.tensor(0.5).double().requires_grad_()
    out = recomputed(lambda x, sigma: torch.sin(x))(x, sigma)
    slopes = torch.autograd.grad(out.sum(), (x, sigma))
    assert torch.equal(slopes[0], torch.cos(x.detach()))
    assert float(slopes[1]) == 0


@pytest.mark.parametrize("flow", [True, False])
def test_the_losss_gradient_in_raw_numbers_is_right(flow: bool) -> None:
    def loss(*tensors: Tensor) -> Tensor:
        return run_loss(recomputed(in_place_net), list(tensors), flow=flow)

    assert torch.autograd.gradcheck(loss, raw_numbers(flow=flow))


@pytest.mark.parametrize("loss", [
    lambda x, y: trajectory_mse([x, 2 * x], [y, y]),
    endpoint_huber,
    lambda x, y: dss_loss([x.square(), x], [y, y]),
])
def test_losses_have_right_gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    far, near = doubles(2, 4), doubles(2, 4, seed=1)
    assert torch.autograd.gradcheck(loss, (far.requires_grad_(), near))
    # Inside the Huber's square; its width, 1e-3, is also the scale differences may have.
    close = (near + 0.3 * HUBER_DELTA).requires_grad_()
    assert torch.autograd.gradcheck(loss, (close, near), eps=1e-7, atol=1e-4)


def test_the_path_loss_sums_steps_and_averages_the_rest() -> None:
    x = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    target = torch.ones(2, 2, dtype=torch.float64)
    assert float(trajectory_mse([x], [target])) == 1.0  # 4 over four values
    assert float(trajectory_mse([x, x, target], [target] * 3)) == 2.0
    with pytest.raises(ValueError, match="zip"):
        trajectory_mse([x, x], [target])


def test_the_huber_is_square_near_zero_and_straight_beyond() -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    inside, outside = zero + HUBER_DELTA / 2, zero + 0.5
    assert float(endpoint_huber(inside, zero)) == pytest.approx(1e3 * (5e-4 ** 2) / 2, rel=1e-12)
    straight = 1e3 * HUBER_DELTA * (0.5 - HUBER_DELTA / 2)
    assert float(endpoint_huber(outside, zero)) == pytest.approx(straight, rel=1e-12)
    assert float(dss_loss([outside], [zero])) == pytest.approx(0.25 + straight, rel=1e-12)


def test_three_lion_steps_by_hand() -> None:
    """m' = 0.99 m + 0.01 g; the move is -rate * sign(0.9 m + 0.1 g)."""
    x = torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64)
    lion = Lion([x])
    lion.step([torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)], 0.1)
    assert x.tolist() == pytest.approx([-0.1, 0.1, 5.0])  # sign(0) moves nothing
    assert lion.momenta[0].tolist() == pytest.approx([0.01, -0.02, 0.0])
    # 0.009 - 0.01 < 0: a gradient as big as -0.1 turns the first entry; 0.018 - 0.01 does not.
    lion.step([torch.tensor([-0.1, 0.1, 0.0], dtype=torch.float64)], 0.1)
    assert x.tolist() == pytest.approx([0.0, 0.2, 5.0])
    assert lion.momenta[0].tolist() == pytest.approx([0.0089, -0.0188, 0.0])
    lion.step([torch.tensor([0.0, 0.0, -1e-9], dtype=torch.float64)], 0.01)
    assert x.tolist() == pytest.approx([-0.01, 0.21, 5.01])  # the size of a gradient is nothing


def test_relative_errors_are_distances_over_the_mean_size() -> None:
    reference = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    x = reference + torch.tensor([[0.0, 1.0], [3.0, 4.0]])
    assert relative_errors(x, reference).tolist() == pytest.approx([0.2, 1.0])
    errors = torch.tensor([1.0, 2.0, 3.0, 6.0])
    mean, half = mean_and_interval(errors)
    assert mean == 3.0
    assert half == pytest.approx(1.96 * (14 / 3) ** 0.5 / 2)
    assert mean_and_interval(errors[:1]) == (1.0, 0.0)
