"""A service in the cluster reached through kubectl: a child process that is started, watched and ended with us."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

from pipelines.cluster.errors import ClusterError, ConnectionLostError
from spine.settings import child_environment
from spine.workers import signal_after_parent

_START_S = 20.0
_END_S = 5.0


class Forward:
    """``kubectl port-forward`` to one service, on one free port of this machine for as long as it is open."""

    def __init__(self, target: str) -> None:
        """Take a free port for ``target``, such as ``kubeflow/ml-pipeline-ui`` or ``kubeflow/ml-pipeline-ui:80``."""
        self._target = target
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # A file: nobody reads a pipe for days, and kubectl would stand still once it is full.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    @property
    def url(self) -> str:
        """Where the service answers; the same after the process was started again."""
        return f"http://127.0.0.1:{self._port}"

    def ensure(self) -> None:
        """Start kubectl unless it runs, and wait until the port takes connections.

        Raises ClusterError where there is no kubectl, ConnectionLostError with its last words where it ends.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._process = self._start()
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _takes_connections(self._port):
                return
            time.sleep(0.1)
        raise ConnectionLostError(
            f"kubectl port-forward to {self._target}: {self._last_words()}; expected a service that kubectl can reach"
        )

    def restart(self) -> None:
        """End kubectl and start it anew: it can live on although nothing comes through it any more."""
        self._end()
        self.ensure()

    def close(self) -> None:
        """End kubectl for good."""
        self._end()
        self._errors.close()

    def by_hand(self, port: int) -> str:
        """Return the command by which a person reaches the service at ``port``."""
        return " ".join(self._command(port))

    def _command(self, port: int) -> list[str]:
        namespace, _, service = self._target.partition("/")
        name, _, theirs = service.partition(":")
        command = ["kubectl", "--namespace", namespace, "port-forward", "--address", "127.0.0.1", f"service/{name}"]
        return [*command, f"{port}:{theirs or 80}"]

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            # In a session of its own: Ctrl-C is for the command, which ends kubectl when it no longer needs it.
            return subprocess.Popen(
                self._command(self._port),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
                # Should this process be killed, the kernel ends kubectl.
                preexec_fn=_end_with_parent,
                env=child_environment(),
            )
        except FileNotFoundError as error:
            raise ClusterError("kubectl: not found; expected it on the PATH for kubeflow.port_forward") from error

    def _end(self) -> None:
        """End kubectl, politely at first."""
        if self._process is None:
            return
        for wanted in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, wanted)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=_END_S)
        self._process = None

    def _last_words(self) -> str:
        process = self._process
        if process is None or process.poll() is None:
            return f"takes no connection after {_START_S:g} s"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {process.returncode}"


@contextlib.contextmanager
def forwarded(target: str | None) -> Iterator[Forward | None]:
    """Yield an open forward to ``target``, None where there is none to open; it is closed at the end."""
    if target is None:
        yield None
        return
    forward = Forward(target)
    try:
        forward.ensure()
        yield forward
    finally:
        forward.close()


def _end_with_parent() -> None:
    signal_after_parent(signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _takes_connections(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(0.5)
        return attempt.connect_ex(("127.0.0.1", port)) == 0
