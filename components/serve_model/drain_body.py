"""Refusals that reach a client which is still sending: a connection that closes on unread bytes resets it instead."""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_BYTES = 16 << 20
_LONGEST_S = 5.0
_FIRST_ERROR = 400


class Lingering:
    """Middleware that reads on for a while, and throws away what comes, before an error is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, is_asked_for=any(name == b"expect" for name, _ in scope["headers"]))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _FIRST_ERROR:
                await body.drain()
            await send(message)

        await self._app(scope, body.receive, answer)


class _Body:
    """A request's body, and whether all of it has come."""

    def __init__(self, receive: Receive, *, is_asked_for: bool) -> None:
        # A client that expects to be told before it sends has sent nothing until somebody reads.
        self._receive, self._is_coming = receive, not is_asked_for

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_coming = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def drain(self) -> None:
        received, deadline = 0, time.monotonic() + _LONGEST_S
        while self._is_coming and received < _MOST_BYTES:
            try:
                message = await asyncio.wait_for(self.receive(), deadline - time.monotonic())
            except TimeoutError:
                return
            received += len(message.get("body", b""))
