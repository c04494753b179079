"""Serve the version in use over HTTP, following the ledger, until SIGTERM."""

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from components.serve_model.errors import ListenError
from components.serve_model.limits import MIB, Limits
from components.serve_model.presence import ServerInfo, announce, withdraw
from spine.logs import run_program
from spine.settings import settings

_LOG = logging.getLogger(__name__)
_BACKLOG = 128


def serve(*, root: Path, host: str, port: int, limits: Limits, threads: int) -> str:
    """Serve until asked to stop, requests under way finished; raises ListenError where the port can't be had."""
    # Read when torch is loaded: threads that spin while they wait make a shared machine many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    listener = _listening(host, port)
    info = _info(host, int(listener.getsockname()[1]))
    with listener, _announced(root, info):
        import uvicorn

        from components.serve_model.app import create_app
        from components.serve_model.service import Service

        app = create_app(Service(root=root, limits=limits, threads=threads))
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", server_header=False)
        _LOG.info("serving %s on %s", root, info.url)
        uvicorn.Server(config).run(sockets=[listener])
    return f"stopped serving on {info.url}"


@contextlib.contextmanager
def _announced(root: Path, info: ServerInfo) -> Iterator[None]:
    # uvicorn finishes its requests, then raises the signal again; an exit lets the announcement be withdrawn.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    announce(root, info)
    try:
        yield
    finally:
        withdraw(root, info)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(host, port, reason=(error.strerror or "unknown host").lower()) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(host, port, reason=(error.strerror or "refused").lower()) from error
    return listener


def _info(host: str, port: int) -> ServerInfo:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    shown = f"[{reached}]" if ":" in reached else reached
    return ServerInfo(
        pid=os.getpid(),
        host=host,
        port=port,
        url=f"http://{shown}:{port}",
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the server from the command line."""
    defaults = Limits()
    parser = argparse.ArgumentParser(prog="python -m components.serve_model", description=__doc__)
    parser.add_argument("--root", type=Path, default=settings().root_path, help="shared root (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=settings().port, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument("--max-upload-mb", type=_positive, default=defaults.upload_bytes // MIB, metavar="MIB")
    parser.add_argument("--max-voxels", type=_positive, default=defaults.voxels, help="default: %(default)s")
    parser.add_argument("--max-waiting", type=_positive, default=defaults.waiting, help="default: %(default)s")
    given = parser.parse_args(argv)
    limits = Limits(upload_bytes=given.max_upload_mb * MIB, voxels=given.max_voxels, waiting=given.max_waiting)
    return run_program(
        lambda: serve(
            root=given.root.expanduser().absolute(),
            host=given.host,
            port=given.port,
            limits=limits,
            threads=settings().cpu_threads,
        )
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too small; expected 1 or more")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port; expected 0 to 65535")
    return number
