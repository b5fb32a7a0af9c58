"""Progress bar, previews and a line of text on the running node."""

from __future__ import annotations

import logging

import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ..said import Said, as_said, harmless
from .web import send, shows_ours

PREVIEW_FORMAT = "JPEG"
SAID = "solver_search.said"
log = logging.getLogger("solver-search")


class Console:
    """What the running node shows.

    Args:
        model: whose latents are previewed.
        node_id: of the running node.
        total: of the progress bar.
    """

    def __init__(self, model: ModelPatcher, node_id: str | None, total: int) -> None:
        self.bar = comfy.utils.ProgressBar(total, node_id=node_id)
        self.device = model.load_device
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def progress(self, done: int, latent: Tensor | None = None) -> None:
        """Move the bar; with a (1, C, ...) latent also show it."""
        preview = None
        if latent is not None and self.previewer is not None:
            preview = self.previewer.decode_latent_to_preview_image(
                PREVIEW_FORMAT, latent.to(self.device))
        self.bar.update_absolute(done, preview=preview)

    def expect(self, total: int) -> None:
        """Set what the bar counts to."""
        self.bar.total = max(1, total)


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
