"""The audit log: one JSON line a request, refused ones too, that says who asked for what and nothing of a patient.

No file name, query, header or content of a scan comes into it: a path only as the route's template, a request id
from outside only where it is a UUID.
"""

import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spine.storage import strict_json

REQUEST_ID = "X-Request-ID"
_VERSION = "X-Spineline-Version"
_UUID = re.compile(rb"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.IGNORECASE)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BROKEN_OFF = 499
"""Status of a request whose client left before it was answered; nginx's number for it."""
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""A browser must not guess what an answer is, and nobody between may keep it."""

Write = Callable[[str], None]
Count = Callable[[str, int], None]


class AuditTrail:
    """Middleware around the whole app: gives each request an id, each answer its headers, and writes the line."""

    def __init__(self, app: ASGIApp, *, write: Write, count: Count) -> None:
        self._app, self._write, self._count = app, write, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; whatever becomes of it, its line is written."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = exchange.status or 500
            raise
        finally:
            self._count(exchange.route, exchange.status or _BROKEN_OFF)
            self._write(strict_json(exchange.line()))


def request_headers(scope: Scope) -> dict[str, str]:
    """Return the headers that every answer of a request carries: its id, and how browsers are to treat it."""
    return {REQUEST_ID: scope["state"]["request_id"], **_HEADERS}


class _Exchange:
    """One request and its answer, watched as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._started = time.perf_counter()
        self._at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._bytes_in = 0
        self._version: str | None = None
        self.status: int | None = None
        scope.setdefault("state", {})["request_id"] = _request_id(scope)

    @property
    def route(self) -> str:
        """The template of the path, such as ``/v1/versions/{version}/approval``."""
        return str(getattr(self._scope.get("route"), "path", "unknown"))

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(request_headers(self._scope))
            self._version = headers.get(_VERSION)
        await self._send(message)

    def line(self) -> dict[str, Any]:
        """Return what is kept of the request."""
        caller = self._scope["state"].get("caller")
        method = self._scope["method"]
        return {
            "at": self._at,
            "request_id": self._scope["state"]["request_id"],
            "caller": caller.name if caller else None,
            "role": caller.role if caller else None,
            "method": method if method in _METHODS else "other",
            "route": self.route,
            "status": self.status or _BROKEN_OFF,
            "version": int(self._version) if self._version else None,
            "bytes_in": self._bytes_in,
            "milliseconds": round((time.perf_counter() - self._started) * 1000, 1),
        }


def _request_id(scope: Scope) -> str:
    """Return the id that came with the request if it is a UUID, or a new one.

    Anything freer would let a client write a patient's number, or a line of its own, into the log.
    """
    given = [value for name, value in scope["headers"] if name == REQUEST_ID.lower().encode()]
    if len(given) == 1 and _UUID.fullmatch(given[0]):
        return str(given[0].decode())
    return uuid.uuid4().hex
