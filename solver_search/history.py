"""Weighted sums over earlier model outputs: one pass over what a table still has to read."""

from __future__ import annotations

import torch
from torch import Tensor

FREE = -1  # a place that holds nothing: its weight is the column of zeros behind the rows


class History:
    """The outputs that rows still read.

    Outputs lie side by side in one block, so that a sum reads each once; an output that nothing
    reads any more gives its place away. With autograd on nothing may be overwritten, and they
    are kept one by one.

    Args:
        rows: (N, N) factors; exact zeros are never touched, unless they are learned.
        ratio: (N,) factors on the state; None: 1.
    """

    def __init__(self, rows: Tensor, ratio: Tensor | None = None) -> None:
        self.ratio = torch.ones(len(rows), dtype=rows.dtype) if ratio is None else ratio
        self.rows = torch.cat([rows, torch.zeros(len(rows), 1, dtype=rows.dtype)], dim=1)
        self.last = last_reads(rows)
        self.apart = torch.is_grad_enabled()
        self.places: list[int] = []  # which output lies where
        self.values: list[Tensor] = []
        self.block: Tensor | None = None

    def onto(self, x: Tensor, n: int, value: Tensor) -> Tensor:
        """ratio[n] * x + sum_j rows[n, j] * value[j].

        Args:
            x: any shape.
            n: which row.
            value: shaped as x, the newest output, value[n].
        """
        self._keep(n, value)
        row = self.rows[n, self.places]
        self.places = [j if self.last[j] > n else FREE for j in self.places]
        factor, shares = (t.to(x.dtype).to(x.device) for t in (self.ratio[n], row))
        if self.apart:
            return self._one_by_one(x * factor, row, shares)
        if not row.any():
            return x * factor
        columns = self.block[: len(row)].flatten(1).T
        return torch.addmv(x.reshape(-1), columns, shares,
                           beta=float(self.ratio[n])).reshape(x.shape)

    def _keep(self, n: int, value: Tensor) -> None:
        """Put the newest output into the first free place, if a row reads it."""
        if self.last[n] < n:
            return
        place = self.places.index(FREE) if FREE in self.places else len(self.places)
        self.places[place:place + 1] = [n]
        if self.apart:
            self.values[place:place + 1] = [value]
            return
        if self.block is None:
            self.block = value.new_empty((max(1, most_kept(self.rows)), *value.shape))
        self.block[place].copy_(value)

    def _one_by_one(self, x: Tensor, row: Tensor, shares: Tensor) -> Tensor:
        for known, share, value in zip(row, shares, self.values, strict=True):
            if known.requires_grad or known != 0:
                x = x + share * value
        return x


def reads(rows: Tensor) -> Tensor:
    """(N, N) which outputs a row reads; all earlier ones while the table is learned."""
    return (torch.ones_like(rows).tril() if rows.requires_grad else rows) != 0


def last_reads(rows: Tensor) -> list[int]:
    """For each output, the last row that reads it (-1: none)."""
    return [int(column.nonzero().max()) if column.any() else -1 for column in reads(rows).T]


def most_kept(rows: Tensor) -> int:
    """Most outputs alive at once."""
    last = last_reads(rows)
    return max(sum(row >= n for row in last[: n + 1]) for n in range(len(last)))
