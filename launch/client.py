"""Speaks with a ComfyUI server over HTTP and its websocket.

`run` listens before it queues, so no event is missed; the history is written a moment after the
event that ends a prompt (ComfyUI 0.30, main.py prompt_worker), so it is asked for until it is
there.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from .failures import PromptError, ServerError, refusal, sentence

Prompt = dict[str, dict[str, Any]]
ENDS = ("execution_success", "execution_error", "execution_interrupted")
HISTORY_PATIENCE = 30.0
TIMEOUT = 60.0


@dataclass(frozen=True)
class Progress:
    """What the server is doing: node, its type, step out of total, seconds since queueing."""

    node: str
    node_type: str
    value: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished prompt: its id, the `ui` outputs of each node, and how long it took."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]
    seconds: float


class Client:
    """One server's client; holds nothing but the address."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        # An empty handler: a proxy of the environment must not be asked for the loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            self._get("/prompt", timeout=2.0)
        except (OSError, ValueError):
            return False
        return True

    def object_info(self) -> dict[str, Any]:
        """What the server knows of every node class."""
        return json.loads(self._get("/object_info"))

    def queue(self, prompt: Prompt, client_id: str = "") -> str:
        """Put a prompt into the queue.

        Returns:
            Its id.

        Raises:
            PromptError: if the server refuses it; names the nodes and inputs.
        """
        body = {"prompt": prompt, "client_id": client_id or uuid.uuid4().hex}
        try:
            return json.loads(self._post("/prompt", body))["prompt_id"]
        except urllib.error.HTTPError as error:
            raise PromptError(refusal(error.read(), prompt)) from error

    def run(self, prompt: Prompt, on_progress: Callable[[Progress], None] | None = None) -> Run:
        """Queue a prompt and wait for its end.

        Args:
            prompt: in API format.
            on_progress: told of every node and step.

        Returns:
            The outputs.

        Raises:
            PromptError: if it is refused, fails or is interrupted.
            ServerError: if the server goes away.
        """
        return asyncio.run(self._run(prompt, on_progress or (lambda progress: None)))

    def history(self, prompt_id: str) -> dict[str, Any]:
        """What is kept of a finished prompt; waits for it.

        Raises:
            ServerError: if nothing is kept of it.
        """
        end = time.monotonic() + HISTORY_PATIENCE
        while time.monotonic() < end:
            found = json.loads(self._get(f"/history/{prompt_id}"))
            if prompt_id in found:
                return found[prompt_id]
            time.sleep(0.02)
        raise ServerError(f"The server kept no history of prompt {prompt_id}.")

    def interrupt(self) -> None:
        """Interrupt what is running."""
        self._post("/interrupt", {})

    def image(self, reference: dict[str, str]) -> bytes:
        """Fetch a file a node has saved.

        Args:
            reference: an entry of a node's `images`: filename, subfolder, type.
        """
        return self._get("/view?" + urllib.parse.urlencode(reference))

    async def _run(self, prompt: Prompt, tell: Callable[[Progress], None]) -> Run:
        started, name = time.monotonic(), uuid.uuid4().hex
        async with aiohttp.ClientSession() as session:
            url = f"{self.address}/ws?clientId={name}"
            async with session.ws_connect(url, max_msg_size=0) as stream:
                prompt_id = self.queue(prompt, name)
                async for kind, data in _events(stream, prompt_id):
                    if kind in ENDS:
                        break
                    if data.get("node") in prompt:
                        tell(_progress(data, prompt, time.monotonic() - started))
                else:
                    raise ServerError("The server closed the connection before the prompt ended.")
        entry = self.history(prompt_id)
        if kind != "execution_success":
            raise PromptError(sentence(entry["status"]["messages"]))
        return Run(prompt_id, entry["outputs"], time.monotonic() - started)

    def _get(self, path: str, timeout: float = TIMEOUT) -> bytes:
        with self._opener.open(self.address + path, timeout=timeout) as answer:
            return answer.read()

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers)
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            return answer.read()


async def _events(
    stream: aiohttp.ClientWebSocketResponse, prompt_id: str
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The text events that belong to one prompt; previews are binary and left out."""
    async for message in stream:
        if message.type is aiohttp.WSMsgType.TEXT:
            event = json.loads(message.data)
            data = event.get("data") or {}
            if data.get("prompt_id") == prompt_id:
                yield event["type"], data


def _progress(data: dict[str, Any], prompt: Prompt, seconds: float) -> Progress:
    node = data["node"]
    node_type = prompt[node]["class_type"]
    return Progress(node, node_type, data.get("value", 0), data.get("max", 0), seconds)
