"""The monitor's HTTP face: /metrics and /healthz, a thread a request."""

import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import AF_INET6
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from spine.errors import SpinelineError

_Start = Callable[..., Any]
_Answer = Iterable[bytes]


class MonitorPortError(SpinelineError):
    """The monitor's port can't be listened on."""

    def __init__(self, host: str, port: int, *, reason: str) -> None:
        super().__init__(f"port {port} on {host}: {reason}; expected a free port on an address of this machine")


@contextmanager
def answering(*collectors: Collector, host: str, port: int) -> Iterator[str]:
    """Answer with what ``collectors`` yield for the block, and yield the URL; port 0 takes any free one.

    Raises MonitorPortError.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        server = (_ServerOnIpv6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        raise MonitorPortError(host, port, reason=(error.strerror or "refused").lower()) from error
    server.set_app(_app(make_wsgi_app(registry)))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _app(metrics: Callable[[dict[str, Any], _Start], _Answer]) -> Callable[[dict[str, Any], _Start], _Answer]:
    def answer(request: dict[str, Any], start: _Start) -> _Answer:
        path = request["PATH_INFO"]
        if path == "/metrics":
            return metrics(request, start)
        status, message = ("200 OK", b"alive\n") if path == "/healthz" else ("404 Not Found", b"/metrics or /healthz\n")
        start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(message)))])
        return [message]

    return answer


class _Handler(WSGIRequestHandler):
    timeout = 10
    """Seconds that a client may let pass between two bytes."""

    def log_message(self, *_: object) -> None:
        """Say nothing of a scrape: there is one every few seconds."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, which may not answer for half a minute."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _ServerOnIpv6(_Server):
    address_family = AF_INET6
