"""Demo Prompt: words to CONDITIONING, without a text encoder."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .widths import conditioning_widths
from .words import EMPTY, STYLES, SUBJECTS, pooled_rows, token_rows


def encode_lines(text: str, config: dict[str, Any]) -> list[list[Any]]:
    """Text as ComfyUI's conditioning, one row per line.

    Args:
        text: one prompt per line; blank lines are skipped, a blank text is the empty prompt.
        config: the model's `unet_config`.

    Returns:
        `[[tokens (K, T, C), {"pooled_output": (K, P)}]]`; a model without a pooled vector gets
        an empty dictionary.

    Raises:
        ValueError: an unknown word, too many words, or a model without a context width.
    """
    prompts = [line for line in text.splitlines() if line.strip(" ,\t")] or [EMPTY]
    width, pooled_width = conditioning_widths(config)
    pooled = {"pooled_output": pooled_rows(prompts, pooled_width)} if pooled_width else {}
    return [[token_rows(prompts, width), pooled]]


class DemoPrompt(io.ComfyNode):
    """The node around `encode_lines`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SolverSearchDemo_Prompt",
            display_name="Demo Prompt",
            category="solver search/demo",
            description=(
                "Tells a demo model what to paint. The demo models have no text encoder; they "
                f"know the subjects {', '.join(SUBJECTS)} and the styles {', '.join(STYLES)}."
            ),
            search_aliases=["demo text", "demo conditioning", "demo encode"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The loaded demo model. It is only asked how wide its text input is.",
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    default="cat, night",
                    tooltip=(
                        "One picture per line: a subject and a style, such as: cat, night. With "
                        "several lines and a batch, the first picture gets the first line, and "
                        "so on. Leave it empty for the negative prompt."
                    ),
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="The prompts, one row per line, for any sampler or guider.",
                )
            ],
        )

    @classmethod
    def execute(cls, model: Any, text: str) -> io.NodeOutput:  # noqa: ANN401  comfy's own type
        return io.NodeOutput(encode_lines(text, model.model.model_config.unet_config))
