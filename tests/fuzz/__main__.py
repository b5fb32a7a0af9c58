"""python -m tests.fuzz: see the package."""

from __future__ import annotations

import argparse

from .campaign import campaign


def main() -> int:
    """Exit code 1 if anything crashed the reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    counts = campaign(arguments.inputs, arguments.seed)
    print(counts)  # noqa: T201
    return 1 if counts.crashes else 0


if __name__ == "__main__":
    raise SystemExit(main())
