"""Weighted sums over earlier model outputs, in place; outputs that nothing reads any more go.

A block of outputs side by side, summed in one pass, was tried: on the CPU it costs more to fill
than the sum saves (docs/decisions/bases.md). A product is rounded before it is added, not fused,
so that a solver's pictures stay the same to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor


class History:
    """The outputs that rows still read.

    Args:
        rows: (N, N) factors; exact zeros are never touched, unless they are learned.
        ratio: (N,) factors on the state; None: 1.
    """

    def __init__(self, rows: Tensor, ratio: Tensor | None = None) -> None:
        self.rows, self.ratio = rows, ratio
        self.shares = rows.detach().tolist()
        self.factors = [1.0] * len(rows) if ratio is None else ratio.detach().tolist()
        self.last = last_reads(rows)
        self.learns = torch.is_grad_enabled()
        self.values: dict[int, Tensor] = {}
        self.scratch: Tensor | None = None

    def onto(self, x: Tensor, n: int, value: Tensor) -> Tensor:
        """ratio[n] * x + sum_j rows[n, j] * value[j], a new tensor.

        Args:
            x: any shape.
            n: which row.
            value: shaped as x, the newest output, value[n].
        """
        if self.last[n] >= n:
            self.values[n] = value
        x = self._learned(x, n) if self.learns else self._in_place(x * self.factors[n], n)
        self.values = {j: v for j, v in self.values.items() if self.last[j] > n}
        return x

    def _learned(self, x: Tensor, n: int) -> Tensor:
        """With a graph: factors are tensors, nothing is overwritten."""
        row = self.rows[n].to(x.dtype).to(x.device)
        x = x if self.ratio is None else x * self.ratio[n].to(x.dtype).to(x.device)
        for j, value in self.values.items():
            if self.rows.requires_grad or self.shares[n][j]:
                x = x + row[j] * value
        return x

    def _in_place(self, x: Tensor, n: int) -> Tensor:
        self.scratch = torch.empty_like(x) if self.scratch is None else self.scratch
        for j, value in self.values.items():
            if self.shares[n][j]:
                x.add_(torch.mul(value, self.shares[n][j], out=self.scratch))
        return x


def reads(rows: Tensor) -> Tensor:
    """(N, N) which outputs a row reads; all earlier ones while the table is learned."""
    return (torch.ones_like(rows).tril() if rows.requires_grad else rows) != 0


def last_reads(rows: Tensor) -> list[int]:
    """For each output, the last row that reads it (-1: none)."""
    last = [-1] * len(rows)
    for n, row in enumerate(reads(rows).tolist()):
        for j, read in enumerate(row):
            last[j] = n if read else last[j]
    return last


def most_kept(rows: Tensor) -> int:
    """Most outputs alive at once."""
    last = last_reads(rows)
    return max(sum(row >= n for row in last[: n + 1]) for n in range(len(last)))
