"""Progress bar, previews and a line of text on the running node."""

from __future__ import annotations

import logging

import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

PREVIEW_FORMAT = "JPEG"
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



def say(text: str) -> None:
    """A line of text on the node that is running, and in the log."""
    log.info(text)
    running = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if server is not None and running is not None:
        server.send_progress_text(text, running.node_id)
