"""What the running node says."""

from __future__ import annotations

import logging

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ..said import Said, as_said, harmless
from .web import send, shows_ours

SAID = "solver_search.said"
log = logging.getLogger("solver-search")


def say(said: Said | str) -> None:
    """Speak on the node that is running, whoever wrote it, and in the log.

    The page gets it as an event, which our script shows and keeps; a page without our script
    gets ComfyUI's line of text on the node.
    """
    said = as_said(said)
    log.info(said.text)
    running, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if server is None or running is None:
        return
    client = server.client_id
    send(SAID, {"node": running.node_id, "prompt": running.prompt_id, **said.as_dict()}, client)
    if not shows_ours(client):
        server.send_progress_text(harmless(said.text), running.node_id, client)
