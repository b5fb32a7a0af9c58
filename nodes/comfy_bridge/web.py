"""ComfyUI's web server: events to browsers, and which of them show what our nodes say.

The only file that touches `server` for these; without a running server nothing happens.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from server import PromptServer

CHANGED = "solver_search.presets"
MAX_CLIENTS = 256


class Clients:
    """Ids of browsers that have said hello, the oldest forgotten first.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = MAX_CLIENTS) -> None:
        self.limit = limit
        self.known: OrderedDict[str, None] = OrderedDict()

    def remember(self, client_id: str) -> None:
        """Keep an id; ids of other lengths than a browser's are not kept."""
        if not 1 <= len(client_id) <= 64:
            return
        self.known[client_id] = None
        self.known.move_to_end(client_id)
        while len(self.known) > self.limit:
            self.known.popitem(last=False)


CLIENTS = Clients()


def hello(client_id: str) -> None:
    """A browser's client id whose page shows what our nodes say."""
    CLIENTS.remember(client_id)


def shows_ours(client_id: str | None) -> bool:
    """Whether the browser of this client id shows what our nodes say by itself."""
    return client_id is not None and client_id in CLIENTS.known


def send(event: str, data: dict[str, Any], client_id: str | None = None) -> None:
    """Send an event to browsers, from any thread.

    Args:
        event: its name.
        data: what JSON can hold.
        client_id: of the browser that gets it; None: all.
    """
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_sync(event, data, client_id)


def presets_changed() -> None:
    """Tell all browsers that the presets are others than before."""
    send(CHANGED, {})
