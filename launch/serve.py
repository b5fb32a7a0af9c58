"""ComfyUI with this extension, until Ctrl-C.

    python run.py serve [--port 8188] [further arguments of ComfyUI]
"""

from __future__ import annotations

import argparse
import sys

from .base import prepare_base
from .failures import ServerError
from .process import leave_on_terminate
from .server import Server
from .steps import say


def main(arguments: list[str]) -> int:
    """Start, say where, and wait."""
    parser = argparse.ArgumentParser("run.py serve", description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8188)
    options, rest = parser.parse_known_args(arguments)
    leave_on_terminate()
    base = prepare_base()
    database = base / "user" / "comfyui.db"
    try:
        with Server(
            base, port=options.port, arguments=rest, database=database, to_console=True
        ) as server:
            say(f"\nComfyUI with Solver Search: {server.address}   (Ctrl-C ends it)\n")
            say("Examples: Templates -> Extensions -> solver-search. Models belong in ")
            say(f"{base / 'models'}\n\n")
            return server.wait()
    except ServerError as error:
        say(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.\n")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
