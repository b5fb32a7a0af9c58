"""What a running search shows: ComfyUI's bar and preview, pictures of its latents, events."""

from __future__ import annotations

import logging
from typing import Any

import comfy.model_management as management
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_execution.utils import get_executing_context
from server import PromptServer
from torch import Tensor

from ..pictures import Image, image_of, jpeg_of
from ..said import harmless
from .latents import decode
from .web import running_extra, send, shows_ours

PROGRESS = "solver_search.progress"
LONGEST_ID = 100  # characters; a front end's have 36
SPARE = 1.5  # of what a VAE needs, so that the model is not pushed out of memory for it
Interrupted = management.InterruptProcessingException
log = logging.getLogger("solver-search")


class Screen:
    """What one search shows.

    Args:
        model: whose latents are shown.
        node_id: of the running node.
        vae: that makes pictures of them; None: ComfyUI's preview colours.
    """

    def __init__(self, model: ModelPatcher, node_id: str | None, vae: VAE | None = None) -> None:
        self.model, self.vae = model, vae
        self.bar = comfy.utils.ProgressBar(1, node_id=node_id)
        self.node = str(node_id)
        latents = model.get_model_object("latent_format")
        self.previewer = latent_preview.get_previewer(model.load_device, latents)
        self.colours = _colours(latents)
        self.vae_fails = False

    @property
    def prompt(self) -> str:
        """Id of the running prompt, "" outside one."""
        running = get_executing_context()
        return "" if running is None else str(running.prompt_id)

    @property
    def workflow(self) -> str:
        """Id of the workflow that the running prompt was made from, "" where none came along."""
        found: Any = running_extra()
        for name in ("extra_pnginfo", "workflow", "id"):
            found = found.get(name) if isinstance(found, dict) else None
        return found[:LONGEST_ID] if isinstance(found, str) else ""

    def progress(self, done: float, total: float) -> None:
        """Move the bar."""
        self.bar.update_absolute(done, max(1, total))

    def preview(self, latent: Tensor) -> None:
        """ComfyUI's own preview of a (1, C, ...) state, if the server shows previews."""
        if self.previewer is not None:
            self.bar.update_absolute(self.bar.current, preview=(
                self.previewer.decode_latent_to_preview_image("JPEG",
                                                              latent.to(self.model.load_device))))

    def send(self, state: dict[str, Any]) -> None:
        """The state to every page."""
        send(PROGRESS, state)

    def line(self, text: str) -> None:
        """A line of text on the node where the page does not show the state."""
        server = getattr(PromptServer, "instance", None)
        if server is not None and get_executing_context() and not shows_ours(server.client_id):
            server.send_progress_text(harmless(text), self.node)

    def jpeg(self, latent: Tensor, *, running: bool) -> bytes | None:
        """A small picture of a finished (1, C, ...) state of the model; None: nobody can make one.

        Args:
            latent: of the first medium.
            running: the model is being used: the VAE only if there is room beside it.
        """
        try:
            image = self._image(latent.detach(), running=running)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            log.warning("A picture could not be made: %s", error)
            return None
        return None if image is None else jpeg_of(image)

    def _image(self, latent: Tensor, *, running: bool) -> Image.Image | None:
        if self.vae is not None and not self.vae_fails:
            whole = self.model.model.process_latent_out(latent.float())
            if not running or _fits(self.vae, whole):
                try:
                    return _decoded(self.vae, whole)
                except (RuntimeError, ValueError, TypeError, IndexError, MemoryError) as error:
                    self.vae_fails = True
                    log.warning("The VAE could not be used: %s", error)
        return None if self.colours is None else (
            self.colours.decode_latent_to_preview(latent.detach().float().cpu()))


def interrupt() -> None:
    """End the running job as ComfyUI's Cancel does: no error, nothing after it runs."""
    raise Interrupted


def _decoded(vae: VAE, samples: Tensor) -> Image.Image:
    with torch.inference_mode():
        return image_of(decode(vae, samples)[0, ..., :3])


def _colours(latents: Any) -> latent_preview.Latent2RGBPreviewer | None:  # noqa: ANN401
    """ComfyUI's preview colours of a family, whatever previews the server shows."""
    if getattr(latents, "latent_rgb_factors", None) is None:
        return None
    return latent_preview.Latent2RGBPreviewer(
        latents.latent_rgb_factors, getattr(latents, "latent_rgb_factors_bias", None),
        getattr(latents, "latent_rgb_factors_reshape", None))


def _fits(vae: VAE, samples: Tensor) -> bool:
    """Whether the VAE finds room beside the model in use, which must not be unloaded for it."""
    device = torch.device(vae.device)
    if device.type == "cpu":
        return True
    needed = vae.memory_used_decode(samples.shape, vae.vae_dtype) + vae.patcher.model_size()
    spare = SPARE * needed + management.minimum_inference_memory()
    return management.get_free_memory(device) > spare
