"""Refuse requests from other sites' pages, and uploads beyond the limits, before gradio handles them."""

from __future__ import annotations

import ipaddress
import json
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from mestad_d2.errors import UserError
from mestad_d2.inference.app.uploads import Uploads

LOOPBACK_NAMES = {"localhost", "localhost."}


def is_loopback(host: str) -> bool:
    """Return whether an address or name is this machine's own: 127.0.0.0/8, ::1 or localhost."""
    host = host.strip("[]").lower()
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(method: str, headers: dict[str, str], bound_to: str) -> str | None:
    """Say why a request is refused, or None.

    Args:
        method: of the request.
        headers: by lower-case name.
        bound_to: address that the server listens on.
    """
    host = headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    # A foreign name that resolves to this machine would let its page read local data (DNS rebinding).
    if is_loopback(bound_to) and not is_loopback(name):
        return f"Host {host!r} is not this machine; open http://{bound_to}"
    origin = headers.get("origin")
    if origin is not None and method not in ("GET", "HEAD", "OPTIONS"):
        if urlsplit(origin).netloc.lower() != host.lower():
            return f"a page of {origin} may not send to {host}"
    return None


class Guard:
    """ASGI middleware in front of the page.

    Args:
        app: what it guards.
        bound_to: address that the server listens on.
        uploads: counts what comes.
    """

    def __init__(self, app: Any, bound_to: str, uploads: Uploads) -> None:
        self.app, self.bound_to, self.uploads = app, bound_to, uploads

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serve one connection, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        method = scope.get("method", "GET")
        reason = refusal(method, headers, self.bound_to)
        if reason is not None:
            if scope["type"] == "http":
                await _answer(send, 403, reason)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        if method == "POST" and scope["path"].rstrip("/").endswith("/upload"):
            await self._upload(scope, receive, send, headers)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, scope: dict, receive: Any, send: Any, headers: dict[str, str]) -> None:
        size = headers.get("content-length", "")
        if not size.isdigit():
            await _answer(send, 411, "an upload must say its length")
            return
        visitor = (scope.get("client") or ("unknown", 0))[0]
        answer: list[bytes] = []

        async def watched(message: dict) -> None:
            if message["type"] == "http.response.body":
                answer.append(message.get("body", b""))
            await send(message)

        with ExitStack() as stack:
            try:
                stack.enter_context(self.uploads.room(visitor, int(size)))
            except UserError as error:
                await _drain(receive, self.uploads.visit_bytes)
                await _answer(send, 413, str(error))
                return
            await self.app(scope, receive, watched)
            try:
                paths = json.loads(b"".join(answer))
            except ValueError:
                return
            if isinstance(paths, list):
                self.uploads.add(visitor, [path for path in paths if isinstance(path, str)])


async def _drain(receive: Any, most: int) -> None:
    """Read and drop up to ``most`` bytes of a request: a browser that is cut off while it sends shows no answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


async def _answer(send: Any, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
