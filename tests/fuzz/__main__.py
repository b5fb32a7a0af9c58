"""python -m tests.fuzz: see the package."""

from __future__ import annotations

import argparse

from .everything import everything


def main() -> int:
    """Exit code 1 if anything crashed a reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    return int(bool(everything(options.inputs, options.seed)))


if __name__ == "__main__":
    raise SystemExit(main())
