"""Turns what a server reports into a sentence that names the node and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

MOST_REASONS = 5


class ServerError(RuntimeError):
    """The server did not start, went away or did not do what it should."""


class PromptError(RuntimeError):
    """A prompt was refused, failed or was interrupted."""


def sentence(messages: Sequence[Sequence[Any]]) -> str:
    """What went wrong, from the status messages of a prompt's history.

    Args:
        messages: pairs of event name and data.
    """
    events = {name: data for name, data in messages}
    if "execution_error" in events:
        data = events["execution_error"]
        kind = str(data.get("exception_type", "")).rsplit(".", 1)[-1]
        told = str(data.get("exception_message", "")).strip()
        return f"Node {data.get('node_id')} ({data.get('node_type')}) failed: {kind}: {told}"
    if "execution_interrupted" in events:
        data = events["execution_interrupted"]
        return f"Interrupted in node {data.get('node_id')} ({data.get('node_type')})."
    return "The prompt failed without saying why."


def refusal(answer: bytes, prompt: dict[str, dict[str, Any]]) -> str:
    """Why a prompt was not accepted, from the body of the server's answer.

    Args:
        answer: body of the HTTP 400 answer.
        prompt: what was sent; names the nodes the server leaves unnamed.
    """
    try:
        told = json.loads(answer)
    except ValueError:
        return f"The server refused the prompt: {answer[:300].decode(errors='replace')}"
    reasons = list(_reasons(told.get("node_errors") or {}, prompt))
    error = told.get("error") or {}
    general = error.get("message", "") if isinstance(error, dict) else str(error)
    more = [f"and {len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []
    shown = "; ".join(reasons[:MOST_REASONS] + more)
    return f"The server refused the prompt: {shown or general}"


def _reasons(errors: dict[str, Any], prompt: dict[str, dict[str, Any]]) -> Iterator[str]:
    for node, found in errors.items():
        kind = found.get("class_type") or prompt.get(node, {}).get("class_type", "?")
        for error in found.get("errors", ()):
            yield f"node {node} ({kind}): {error.get('message')}: {error.get('details')}"
