"""What the running node says."""

from __future__ import annotations

import logging
from typing import Any

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ..echo import ECHO
from ..said import Said, as_said, harmless
from .web import running_prompt, send, shows_ours

SAID = "solver_search.said"
ECHOES = "solver_search.echoes"
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
    ECHO.keep(running_prompt(), running.node_id, said.as_dict())
    send(SAID, {"node": running.node_id, "prompt": running.prompt_id, **said.as_dict()}, client)
    if not shows_ours(client):
        server.send_progress_text(harmless(said.text), running.node_id, client)


def tell_echoes(request: dict[str, Any]) -> dict[str, Any]:
    """Tell the page of a prompt that arrives what its nodes would say; the request as it is."""
    words, client = ECHO.of(request.get("prompt")), request.get("client_id")
    if words and shows_ours(client):
        send(ECHOES, {"nodes": words}, client)
    return request
