"""A real HTTP server on a free port, which can be told to misbehave."""

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LOGIN_PAGE = "<!doctype html><html><body><form action='/dex/auth'>Log in</form></body></html>"
LOST = "lost"
"""Fault: the connection is closed without an answer."""
LOST_AFTER = "lost after"
"""Fault: what was asked is done, and the answer lost."""


class Answer(Exception):  # noqa: N818 - it is what is said, not an error
    """What a server says other than a plain 200 with JSON."""

    def __init__(self, status: int, content: Any, *, headers: dict[str, str] | None = None) -> None:
        self.status, self.content, self.headers = status, content, headers or {}
        super().__init__(status, content)


class Server:
    """Calls ``reply`` for every request; faults that wait in ``faults`` come first, one a request."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        """Speak TLS where ``certificate`` names a PEM file with a key and its certificate."""
        self.faults: list[Any] = []
        self.fault: Callable[[str, str], Any] = lambda method, path: None
        """Chooses a fault by the request, where none waits; a function is called between deed and answer."""
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.broken: list[str] = []
        """Requests that a real server would not have understood."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def reply(self, method: str, path: str, query: dict[str, str], body: bytes, headers: dict[str, str]) -> Any:
        raise NotImplementedError

    def _answer(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Any:
        parts = urlsplit(target)
        self.asked.append(f"{method} {parts.path}")
        self.headers.append(headers)
        fault = self.faults.pop(0) if self.faults else self.fault(method, parts.path)
        if fault is None or fault == LOST_AFTER or callable(fault):
            content = self.reply(method, parts.path, dict(parse_qsl(parts.query, True)), body, headers)
            if callable(fault):
                fault()
            return None if fault == LOST_AFTER else Answer(200, content)
        return None if fault == LOST else fault

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the request here
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    answer = server._answer(self.command, self.path, body, headers)
                except Answer as told:
                    answer = told
                except Exception as error:
                    server.broken.append(f"{self.command} {self.path}: {error!r}")
                    answer = Answer(400, {"code": 3, "message": f"{error}"})
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.give(answer)

            def give(self, answer: Answer) -> None:
                is_text = isinstance(answer.content, str)
                content = answer.content if is_text else json.dumps(answer.content)
                kind = "text/html; charset=utf-8" if is_text and content.startswith("<") else "application/json"
                headers = {"Content-Type": "text/plain" if is_text and kind != "text/html; charset=utf-8" else kind}
                self.send_response(answer.status)
                for name, value in {**headers, **answer.headers, "Content-Length": len(content.encode())}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(content.encode())

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do

        return Handler
