"""ComfyUI's web server: our routes, events to browsers, and which of these show what nodes say.

The only file that knows aiohttp. A route is a plain function from a `Call` to JSON or a `Reply`;
it runs in a thread, so that files do not hold up the server. What changes something needs a
header that no foreign page can send, and comes from ComfyUI's own page or from no page at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, web
from server import PromptServer

log = logging.getLogger("solver-search")
PREFIX = "/solver_search"
HEADER = "X-Solver-Search"
CHANGED = "solver_search.presets"
MAX_CLIENTS = 256
PATIENCE = 30  # seconds without a byte of a body
SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox"}


class Refusal(Exception):
    """A request that is not granted: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str, **more: Any) -> None:  # noqa: ANN401  JSON
        super().__init__(sentence)
        self.status, self.more = status, more


@dataclass(frozen=True)
class Call:
    """What a request asks.

    Args:
        query: values of each key behind the question mark.
        body: of a POST.
    """

    query: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def get(self, key: str) -> str:
        """The first value of a key, "" if there is none."""
        return self.query.get(key, [""])[0]


@dataclass(frozen=True)
class Reply:
    """Bytes instead of JSON.

    Args:
        body: the bytes.
        media_type: what they are.
        name: of the file that a browser saves; "": it shows them.
    """

    body: bytes
    media_type: str
    name: str = ""


Answer = Callable[[Call], dict[str, Any] | Reply]


@dataclass(frozen=True)
class Route:
    """One address.

    Args:
        method: GET or POST.
        path: below PREFIX.
        answer: what it does.
        limit: most bytes of a body.
    """

    method: str
    path: str
    answer: Answer
    limit: int = 0


def register_routes(routes: Iterable[Route]) -> None:
    """Add them to ComfyUI's server, if there is one; an address that is taken stays as it is."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    taken = {(r.method, r.path) for r in server.routes if isinstance(r, web.RouteDef)}
    for route in routes:
        if (route.method, PREFIX + route.path) in taken:
            log.warning("%s is there already: is Solver Search installed twice?",
                        PREFIX + route.path)
        else:
            server.routes.route(route.method, PREFIX + route.path)(handler(route))


def handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The route as aiohttp wants it."""
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = b""
            if route.method == "POST":
                _check_origin(request)
                body = await _body(request, route.limit)
            query = {key: request.query.getall(key) for key in request.query}
            loop = asyncio.get_running_loop()
            return _response(await loop.run_in_executor(None, route.answer, Call(query, body)))
        except Refusal as refusal:
            return web.json_response({"error": str(refusal), **refusal.more},
                                     status=refusal.status, headers=SAFE)
    return handle


def _check_origin(request: web.Request) -> None:
    if request.headers.get(HEADER) != "1":
        raise Refusal(403, f"A change needs the header {HEADER}: 1. Make it from ComfyUI's page.")
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower().partition("://")[2] != request.host.lower():
        raise Refusal(403, "A change must come from ComfyUI's own page, this one comes from "
                           "another site. Nothing was changed.")


async def _body(request: web.Request, limit: int) -> bytes:
    """The body, never more of it than may be: what the header claims is not believed."""
    too_large = Refusal(413, f"At most {limit} bytes are accepted here. Send less.")
    if (request.content_length or 0) > limit:
        raise too_large
    found = bytearray()
    try:
        while part := await asyncio.wait_for(request.content.read(1 << 16), PATIENCE):
            found += part
            if len(found) > limit:
                raise too_large
    except asyncio.TimeoutError as error:
        raise Refusal(408, f"Nothing came for {PATIENCE} seconds. Send it again.") from error
    except (web.RequestPayloadError, ClientError) as error:
        raise Refusal(400, "The body cannot be read: it is damaged or packed in a way that is not "
                           "known here. Send it plainly.") from error
    return bytes(found)


def _response(answer: dict[str, Any] | Reply) -> web.Response:
    if not isinstance(answer, Reply):
        return web.json_response(answer, headers=SAFE)
    headers = dict(SAFE)
    if answer.name:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{_spelled(answer.name)}"
    return web.Response(body=answer.body, content_type=answer.media_type, headers=headers)


def _spelled(name: str) -> str:
    """A file name as headers spell it (RFC 5987)."""
    plain = [c if c.isascii() and (c.isalnum() or c in "-._") else None for c in name]
    return "".join(p or "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace"))
                   for p, c in zip(plain, name, strict=True))


class Clients:
    """Ids of browsers that have said hello, the oldest forgotten first.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = MAX_CLIENTS) -> None:
        self.limit = limit
        self.known: OrderedDict[str, None] = OrderedDict()

    def remember(self, client_id: str) -> None:
        """Keep an id; ids of other lengths than a browser's are not kept."""
        if not 1 <= len(client_id) <= 64:
            return
        self.known[client_id] = None
        self.known.move_to_end(client_id)
        while len(self.known) > self.limit:
            self.known.popitem(last=False)


CLIENTS = Clients()


def hello(client_id: str) -> None:
    """A browser's client id whose page shows what our nodes say."""
    CLIENTS.remember(client_id)


def shows_ours(client_id: str | None) -> bool:
    """Whether the browser of this client id shows what our nodes say by itself."""
    return client_id is not None and client_id in CLIENTS.known


def send(event: str, data: dict[str, Any], client_id: str | None = None) -> None:
    """Send an event to browsers, from any thread.

    Args:
        event: its name.
        data: what JSON can hold.
        client_id: of the browser that gets it; None: all.
    """
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.send_sync(event, data, client_id)


def presets_changed() -> None:
    """Tell all browsers that the presets are others than before."""
    send(CHANGED, {})


def on_prompt(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let a function change every request to run a prompt before ComfyUI reads it."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.add_on_prompt_handler(change)


def running_prompt() -> dict[str, Any] | None:
    """The prompt that runs now; None where nobody can tell."""
    return _running(2)


def running_extra() -> dict[str, Any]:
    """What came beside the prompt that runs now."""
    found = _running(3)
    return found if isinstance(found, dict) else {}


def _running(place: int) -> Any:  # noqa: ANN401  a part of ComfyUI's entry in its queue
    queue = getattr(getattr(PromptServer, "instance", None), "prompt_queue", None)
    try:
        return queue.get_current_queue()[0][0][place]
    except (AttributeError, IndexError, TypeError):
        return None
