"""Names the values a workflow file stores without names.

The file holds a node's widget values as a bare list, in the order in which the browser built the
widgets; that order follows from the node's inputs in /object_info:

- a widget stands for each input of a plain value type, required ones first, then optional ones;
- a seed is followed by one more value ("randomize", "fixed", ...), a combo with that control by
  two; an upload button comes after the required inputs: none of these belong to the prompt;
- a dynamic combo is followed by the widgets of the chosen option, named "combo.input".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Spec = Sequence[Any]
SEEDS = ("seed", "noise_seed")
UPLOADS = ("image_upload", "video_upload", "animated_image_upload")
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGET_TYPES = frozenset({
    "INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "CURVE", "BOUNDING_BOX", "PAINTER",
    "BOUNDING_BOXES", "COLORS", "IMAGECOMPARE", "MARKDOWN", "TEXTAREA", "RANGE", DYNAMIC_COMBO,
})  # fmt: skip


def named_values(node: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Widget values of one node by input name.

    Args:
        node: the node as in the workflow file.
        info: its class as in /object_info.

    Returns:
        Input name -> value; a value the file lacks (an input newer than the file) is the default.
    """
    stored = node.get("widgets_values") or []
    inputs = info.get("input") or {}
    if isinstance(stored, dict):
        return {name: stored[name] for name, _ in _declared(inputs) if name in stored}
    values = iter(stored)
    named = dict(_take(inputs.get("required") or {}, values))
    if any(_options(spec).get(key) for _, spec in _declared(inputs) for key in UPLOADS):
        next(values, None)
    return named | dict(_take(inputs.get("optional") or {}, values))


def is_widget(spec: Spec) -> bool:
    """Whether an input has a widget, rather than a socket only."""
    kind, options = spec[0], _options(spec)
    if options.get("forceInput"):
        return False
    return isinstance(kind, list) or options.get("widgetType", kind) in WIDGET_TYPES


def _take(
    inputs: dict[str, Spec], values: Iterator[Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Names for the next values, in the order of the inputs."""
    for name, spec in inputs.items():
        if not is_widget(spec):
            continue
        value = next(values, _default(spec))
        yield prefix + name, value
        for _ in range(_controls(name, spec)):
            next(values, None)
        if spec[0] == DYNAMIC_COMBO:
            for group in _chosen(spec, value):
                yield from _take(group, values, f"{prefix}{name}.")


def _declared(inputs: dict[str, Any]) -> Iterator[tuple[str, Spec]]:
    for group in ("required", "optional"):
        yield from (inputs.get(group) or {}).items()


def _options(spec: Spec) -> dict[str, Any]:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def _controls(name: str, spec: Spec) -> int:
    """How many values of the browser's own follow this one."""
    kind = spec[0]
    control = _options(spec).get("control_after_generate", kind == "INT" and name in SEEDS)
    if not control:
        return 0
    return 2 if isinstance(kind, list) or kind == "COMBO" else 1


def _chosen(spec: Spec, key: str) -> list[dict[str, Spec]]:
    for option in _options(spec).get("options", ()):
        if option["key"] == key:
            inputs = option.get("inputs") or {}
            return [inputs.get("required") or {}, inputs.get("optional") or {}]
    return []


def _default(spec: Spec) -> Any:  # noqa: ANN401 - whatever a node declares
    kind, options = spec[0], _options(spec)
    if "default" in options:
        return options["default"]
    choices = kind if isinstance(kind, list) else options.get("options") or [None]
    first = choices[0] if choices else None
    return first.get("key") if isinstance(first, dict) else first
