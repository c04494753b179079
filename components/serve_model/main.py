"""Serve the version in use over HTTP, following the ledger, until SIGTERM.

Needs no rights beyond its user's. Folders that must be writable: ROOT/serving (uploads, results, audit log, caches),
ROOT/replicas and ROOT/ledger (unless SPINELINE_LEDGER names a store), and where versions lie below ROOT if
it fetches them from a model store or makes evidence packs. All else may be read-only. SPINELINE_TOKENS names the file
of those who may use it (`spineline token`).
"""

import argparse
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from components.serve_model.audit_file import AuditFile, AuditStdout
from components.serve_model.caches import keep_caches
from components.serve_model.errors import ListenError, UnprotectedError
from components.serve_model.limits import MIB, Limits
from components.serve_model.server_info import ServerInfo, announce, sole_server, withdraw
from components.serve_model.tokens import Tokens
from spine.arguments import Arguments
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.settings import settings

_LOG = logging.getLogger(__name__)
_BACKLOG = 128
_HEADER_BYTES = 16 << 10
_IDLE_S = 30
AuditTarget = Literal["file", "stdout"]


@dataclass(frozen=True)
class Protection:
    """Who may use the server, and where it is kept what they did."""

    tokens: Path | None
    without_tokens: bool = False
    """Whether to serve everybody who reaches an address that is not this machine's own."""
    audit: AuditTarget = "file"


def serve(*, root: Path, host: str, port: int, limits: Limits, threads: int, protection: Protection) -> str:
    """Serve until asked to stop, requests under way finished.

    Raises ServerRunningError where one runs below ``root``, ListenError where the port can't be had, UnprotectedError
    where others would reach it without tokens, MissingPathError or MalformedFileError where the tokens file can't be
    used.
    """
    tokens = None if protection.tokens is None else Tokens(protection.tokens)
    # Read when torch is loaded: threads that spin while they wait make a shared machine many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_caches(root / "serving" / "caches")
    with sole_server(root), _listening(host, port) as listener:
        if tokens is None and not protection.without_tokens and not _is_loopback(listener):
            raise UnprotectedError(host)
        info = _info(host, int(listener.getsockname()[1]))
        with _announced(root, info):
            _LOG.info("serving %s on %s, %s", root, info.url, "with tokens" if tokens else "without tokens")
            _run(listener, root=root, limits=limits, threads=threads, tokens=tokens, audit=protection.audit)
    return f"stopped serving on {info.url}"


def _run(
    listener: socket.socket, *, root: Path, limits: Limits, threads: int, tokens: Tokens | None, audit: AuditTarget
) -> None:
    import uvicorn

    from components.serve_model.access import Guard
    from components.serve_model.app import create_app
    from components.serve_model.service import Service

    service = Service(root=root, limits=limits, threads=threads)
    on_lost = service.telemetry.audit_line_lost
    log = AuditStdout(on_lost=on_lost) if audit == "stdout" else AuditFile(root / "serving" / "audit", on_lost=on_lost)
    config = uvicorn.Config(
        create_app(service, guard=Guard(tokens), audit=log.write),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        # h11 is the parser that bounds what it holds of a request before its headers are whole.
        http="h11",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        ws="none",
        timeout_keep_alive=_IDLE_S,
    )
    with contextlib.closing(log):
        uvicorn.Server(config).run(sockets=[listener])


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


def _is_loopback(listener: socket.socket) -> bool:
    address = str(listener.getsockname()[0]).partition("%")[0]
    return ipaddress.ip_address(address).is_loopback


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
    parser = Arguments(
        prog="python -m components.serve_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, default=settings().root_path, help="shared root (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=settings().port, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument("--max-upload-mb", type=_positive, default=defaults.upload_bytes // MIB, metavar="MIB")
    parser.add_argument("--max-voxels", type=_positive, default=defaults.voxels, help="default: %(default)s")
    parser.add_argument("--max-waiting", type=_positive, default=defaults.waiting, help="default: %(default)s")
    parser.add_argument("--workers", type=_positive, default=defaults.workers, help="scans worked on at once")
    parser.add_argument("--max-memory-mb", type=_positive, metavar="MIB", help="for scans; what is free by default")
    parser.add_argument(
        "--audit", choices=("file", "stdout"), default="file", help="where the audit log goes (default: %(default)s)"
    )
    parser.add_argument(
        "--without-tokens", action="store_true", help="let everybody read who reaches an address beyond this machine"
    )
    given = parser.parse_args(argv)
    return run_program(
        lambda: serve(
            root=given.root.expanduser().absolute(),
            host=given.host,
            port=given.port,
            limits=_limits(given),
            threads=settings().cpu_threads,
            protection=_protection(given),
        )
    )


def _limits(given: argparse.Namespace) -> Limits:
    return Limits(
        upload_bytes=given.max_upload_mb * MIB,
        voxels=given.max_voxels,
        waiting=given.max_waiting,
        workers=given.workers,
        memory_bytes=given.max_memory_mb * MIB if given.max_memory_mb else None,
    )


def _protection(given: argparse.Namespace) -> Protection:
    tokens = settings().tokens
    if tokens is not None and given.without_tokens:
        raise InvalidValueError("--without-tokens", str(tokens), expected="no SPINELINE_TOKENS beside it")
    path = None if tokens is None else tokens.expanduser().absolute()
    return Protection(tokens=path, without_tokens=given.without_tokens, audit=given.audit)


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
