"""The local server as a process: in the foreground, detached, and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from components.serve_model.server_info import ServerInfo, ServerRunningError, has_ended, running_server, served_version
from spine.errors import StepFailedError
from spine.settings import child_environment

_START_S = 60.0
_READY_S = 180.0
_TOLD_EVERY_S = 10.0
_STOP_S = 30.0


def run_server(root: Path, *, host: str, port: int, without_tokens: bool = False) -> int:
    """Serve in this process until it is stopped."""
    from components.serve_model.main import main

    return main(_arguments(root, host, port, without_tokens=without_tokens))


def start_detached(root: Path, *, host: str, port: int, without_tokens: bool = False) -> ServerInfo:
    """Start a server that outlives this command, or find the one that runs; return when it answers."""
    running = running_server(root)
    if running:
        return running
    log = root / "serving" / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = _arguments(root, host, port, without_tokens=without_tokens)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "components.serve_model", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=child_environment(SPINELINE_ROOT=str(root)),
        )
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        info = running_server(root)
        if info:
            return info
        time.sleep(0.2)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    raise StepFailedError("serve_model", reason=f"did not start on {host}:{port}; log: {log}", log_tail=tail)


def _arguments(root: Path, host: str, port: int, *, without_tokens: bool) -> list[str]:
    given = ["--root", str(root), "--host", host, "--port", str(port)]
    return [*given, "--without-tokens"] if without_tokens else given


def await_version(info: ServerInfo, version: int, *, timeout_s: float = 60) -> None:
    """Wait until the server answers with ``version``; raises StepFailedError at the deadline."""
    deadline = time.monotonic() + timeout_s
    served = served_version(info)
    while served != version:
        if time.monotonic() > deadline:
            reason = f"at {info.url} still answers with version {served} after {timeout_s:g} s; expected {version}"
            raise StepFailedError("serve_model", reason=reason)
        time.sleep(0.05)
        served = served_version(info)


def require_place(info: ServerInfo, root: Path, *, host: str | None, port: int | None) -> None:
    """Raise ServerRunningError where the server that runs is not at the host or port that was asked for."""
    if host not in (None, info.host) or port not in (None, info.port):
        expected = f"{host or info.host}:{port or info.port}, or `spineline serve --stop` first"
        raise ServerRunningError(root, info=info, expected=expected)


def await_ready(root: Path, info: ServerInfo, *, on_wait: Callable[[str], None], timeout_s: float = _READY_S) -> int:
    """Wait until the server answers with any version, and return it; ``on_wait`` is told now and then.

    Raises StepFailedError where the server ends, or at the deadline.
    """
    began, message = time.monotonic(), 0.0
    while (version := served_version(info)) is None:
        waited = time.monotonic() - began
        if has_ended(info) or waited > timeout_s:
            what = "has no version loaded" if waited > timeout_s else "has ended"
            reason = f"at {info.url} {what} after {waited:.0f} s; log: {root / 'serving' / 'server.log'}"
            raise StepFailedError("serve_model", reason=reason)
        if waited >= message:
            on_wait(f"the version in use is being loaded and checked ({waited:.0f} s)")
            message += _TOLD_EVERY_S
        time.sleep(0.2)
    return version


def stop_server(root: Path) -> bool:
    """Stop the server of a root after its requests have finished; False where none runs."""
    info = running_server(root)
    if info is None:
        return False
    os.kill(info.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while running_server(root) and time.monotonic() < deadline:
        time.sleep(0.1)
    return True
