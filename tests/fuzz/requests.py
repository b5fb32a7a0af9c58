"""Requests that no page of ours would send, to a real server with ComfyUI's own guard."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import time
from random import Random
from typing import Any

from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient, TestServer

from .campaign import PYTHON_WORDS, Counts, sources
from .names import odd_name
from .tricks import tricky

METHODS = ("GET", "POST", "POST", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
ORIGINS = (None, None, None, "https://evil.example", "null", "", "http://127.0.0.1", "file://",
           "http://localhost:1@evil.example")
KINDS = ("application/json", "application/octet-stream", "text/plain", "multipart/form-data", "")
KEYS = ("file", "name", "which", "client", "node", "bin", "with", "\u202e", "a" * 300)
FINE = {200, 400, 403, 404, 405, 408, 409, 411, 413, 415}
SECONDS = 5.0  # of wall time on a busy machine
HANGING = 50  # connections that stop in the middle of a body


def requests(world: Any, inputs: int, seed: int) -> Counts:  # noqa: ANN401
    """So many requests; every answer is a status with a sentence, none is a server's failure.

    Args:
        world: the pack as ComfyUI loaded it (tests/world.py).
        inputs: how many.
        seed: of all choices.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # aiohttp writes down each request that is none
    try:
        return asyncio.run(_requests(world, inputs, Random(seed)))
    finally:
        logging.disable(before)


async def _requests(world: Any, inputs: int, chance: Random) -> Counts:  # noqa: ANN401
    bridge, routes = world.module("nodes.comfy_bridge.web"), world.module("nodes.routes").ROUTES
    guard = importlib.import_module("server").create_origin_only_middleware()
    app = web.Application(middlewares=[guard], client_max_size=100 << 20)
    app.add_routes([web.route(r.method, bridge.PREFIX + r.path, bridge.handler(r))
                    for r in routes])
    counts, sound = Counts(), sources()
    paths = [bridge.PREFIX + route.path for route in routes]
    async with TestServer(app) as server, TestClient(server) as client:
        hanging = [await _hang(server, paths, chance) for _ in range(HANGING)]
        for _ in range(inputs):
            await _one(client, paths, sound, counts, chance)
        for writer in hanging:
            writer.close()
    return counts


async def _one(client: TestClient, paths: list[str], sound: list[bytes], counts: Counts,
               chance: Random) -> None:
    method, path = chance.choice(METHODS), chance.choice(paths)
    query = [(chance.choice(KEYS), odd_name(chance).encode("utf-8", "replace").decode())
             for _ in range(chance.randrange(3))]
    body, headers = _body(sound, chance), _headers(chance)
    begun, what = time.monotonic(), f"{method} {path} {query} {headers} {body[:60]!r}"
    counts.tried += 1
    try:
        async with client.request(method, path, params=query, data=body or None,
                                  headers=headers) as answer:
            fault = _fault(answer.status, await answer.read(), answer.content_type, counts)
    except (ClientError, ValueError) as error:  # the client refuses to send it, or is cut off
        counts.refused += 1
        fault = "" if isinstance(error, (ClientError, ValueError)) else str(error)
    if time.monotonic() - begun > SECONDS:
        fault = f"slow: {path}"
    if fault:
        counts.crashes.setdefault(fault, what)


def _fault(status: int, body: bytes, kind: str, counts: Counts) -> str:
    counts.accepted += status == 200
    counts.refused += status != 200
    if status not in FINE:
        return f"status {status}: {body[:80]!r}"
    if status == 200 or kind != "application/json" or not body:
        return ""  # ComfyUI's guard and aiohttp answer some by themselves, without JSON
    sentence = json.loads(body)["error"]
    counts.sentences[re.sub(r"found .*|'[^']*'|\d+", "", sentence)] += 1
    if PYTHON_WORDS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", sentence)):
        return f"Python's words: {sentence}"
    return "" if sentence.rstrip().endswith(".") and len(sentence) < 600 else (
        f"no sentence: {sentence[:100]}")


def _body(sound: list[bytes], chance: Random) -> bytes:
    match chance.randrange(8):
        case 0:
            return chance.choice(sound)
        case 1:
            return tricky(chance.choice(sound), chance.choice(sound), chance)
        case 2:
            return json.dumps({chance.choice(KEYS): chance.choice(
                (odd_name(chance), 1, None, [], {}))}).encode()
        case 3:
            return json.dumps({key: odd_name(chance) for key in ("file", "name", "bin", "node")}
                              ).encode()
        case 4:
            return b"[" * chance.choice((10, 5000, 15_000))
        case 5:
            return bytes(chance.choice((0, 1, (16 << 10) + 1, (1 << 20) + 1, 3 << 20)))
        case 6:
            return chance.randbytes(chance.randrange(200))
        case _:
            return b""


def _headers(chance: Random) -> dict[str, str]:
    found = {"Content-Type": chance.choice(KINDS)}
    if chance.random() < 0.8:
        found["X-Solver-Search"] = chance.choice(("1", "1", "1", "1", "0", "", "11"))
    origin = chance.choice(ORIGINS)
    if origin is not None:
        found["Origin"] = origin
    if chance.random() < 0.1:
        found["Content-Encoding"] = chance.choice(("gzip", "deflate", "br", "x"))
    return found


async def _hang(server: TestServer, paths: list[str], chance: Random) -> asyncio.StreamWriter:
    """A connection that announces a body and sends half of it."""
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"POST {chance.choice(paths)} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
                 f"X-Solver-Search: 1\r\nContent-Length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    return writer
