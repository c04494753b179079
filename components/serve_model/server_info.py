"""Whether a server runs below a root, and what it serves: for commands, with the standard library only."""

import fcntl
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spine.errors import SpinelineError
from spine.storage import read_json, write_json
from spine.values import StoredValue

_TIMEOUT_S = 2.0


class ServerRunningError(SpinelineError):
    """A server runs below this root already."""

    def __init__(self, root: Path, *, info: "ServerInfo | None", expected: str) -> None:
        who = f"at {info.url} (pid {info.pid})" if info else "that just starts or ends"
        super().__init__(f"below {root} a server runs already, {who}; expected {expected}")


class ServerInfo(StoredValue):
    """A server as it announced itself in ``serving/server.json``."""

    pid: int
    host: str
    port: int
    url: str
    started_at: str
    """UTC, ISO 8601."""


@contextmanager
def sole_server(root: Path) -> Iterator[None]:
    """Be the one server below ``root`` for the block; the lock goes with the process, however it ends.

    Raises ServerRunningError: a second one would take the announcement from the first, which nobody could stop then.
    """
    file = _file(root).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            expected = "a root for each server, or `spineline serve --stop` first"
            raise ServerRunningError(root, info=_announced(root), expected=expected) from None
        yield


def announce(root: Path, info: ServerInfo) -> None:
    """Write ``server.json`` atomically."""
    write_json(_file(root), info.content)


def withdraw(root: Path, info: ServerInfo) -> None:
    """Remove ``server.json`` if it is still this server's own."""
    if _announced(root) == info:
        _file(root).unlink(missing_ok=True)


def own_announcement(root: Path) -> ServerInfo | None:
    """Return what this process has announced, or None."""
    info = _announced(root)
    return info if info is not None and info.pid == os.getpid() else None


def running_server(root: Path) -> ServerInfo | None:
    """Return the server below ``root`` whose process lives and answers ``/healthz``, or None."""
    info = _announced(root)
    if info is None or has_ended(info):
        return None
    health = _get_json(f"{info.url}/healthz")
    # The pid in the answer tells our server from whoever took its port after it.
    return info if health is not None and health.get("pid") == info.pid else None


def has_ended(info: ServerInfo) -> bool:
    """Tell whether a server's process is gone; one that is busy loading may live and not answer for seconds."""
    if info.pid <= 0:
        return True
    # A child of this process that was killed stays until it is asked for.
    with suppress(ChildProcessError):
        os.waitpid(info.pid, os.WNOHANG)
    try:
        os.kill(info.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def served_version(info: ServerInfo) -> int | None:
    """Return the version that a server answers with now, or None where it has none loaded or is gone."""
    # Open to everybody, where /v1/model may ask for a token.
    ready = _get_json(f"{info.url}/readyz")
    version = ready.get("version") if ready is not None else None
    return version if isinstance(version, int) else None


def _announced(root: Path) -> ServerInfo | None:
    file = _file(root)
    try:
        return ServerInfo.from_stored(read_json(file, expected="a server's announcement"), where=file)
    except (SpinelineError, OSError):
        return None


def _file(root: Path) -> Path:
    return root / "serving" / "server.json"


def _get_json(url: str) -> dict[str, object] | None:
    # A proxy from the environment has no business between a command and its own server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            content = json.load(answer)
    except (OSError, ValueError, urllib.error.URLError):
        return None
    return content if isinstance(content, dict) else None
