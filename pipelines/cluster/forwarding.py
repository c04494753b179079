"""A service in the cluster reached through kubectl: a child process that is started, watched and ended with us."""

import contextlib
import json
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

_HTTP_PORT = 80
_START_S = 20.0
_END_S = 5.0


class Forward:
    """``kubectl port-forward`` to one service, on one free port of this machine for as long as it is open."""

    def __init__(self, target: str) -> None:
        """Take a free port for ``target``, such as ``kubeflow/ml-pipeline-ui`` or ``kubeflow/ml-pipeline:8888``."""
        self._target = target
        self._namespace, _, service = target.partition("/")
        self._service, _, remote = service.partition(":")
        self._remote = int(remote) if remote else None
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
        """End kubectl and start it anew.

        It forwards to one pod, and does not follow the service to another: once that pod is deleted, kubectl ends with
        "lost connection to pod", or lives on and closes every connection without an answer.
        """
        self._end()
        self.ensure()

    def close(self) -> None:
        """End kubectl for good."""
        self._end()
        self._errors.close()

    def by_hand(self, port: int, *, service: str | None = None) -> str:
        """Return the command by which a person reaches the service at ``port``, or ``service``, at its port 80."""
        if service is None:
            return " ".join(self._command(self._service, local=port, remote=self._remote or _HTTP_PORT))
        return " ".join(self._command(service, local=port, remote=_HTTP_PORT))

    def _command(self, service: str, *, local: int, remote: int) -> list[str]:
        command = ["kubectl", "--namespace", self._namespace, "port-forward", "--address", "127.0.0.1"]
        return [*command, f"service/{service}", f"{local}:{remote}"]

    def _start(self) -> "subprocess.Popen[bytes]":
        if self._remote is None:
            self._remote = _service_port(self._namespace, self._service)
        command = self._command(self._service, local=self._port, remote=self._remote)
        try:
            # In a session of its own: Ctrl-C is for the command, which ends kubectl when it no longer needs it.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
                # Should this process be killed, the kernel ends kubectl.
                preexec_fn=_end_with_parent,
                env=child_environment(),
            )
        except FileNotFoundError as error:
            raise _no_kubectl() from error

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


def _service_port(namespace: str, service: str) -> int:
    """Return the port of a service that HTTP is expected at: 80, its only one, or the one named ``http``.

    Raises ConnectionLostError where kubectl can't read the service, ClusterError where several ports could be meant.
    """
    command = ["kubectl", "--namespace", namespace, "get", f"service/{service}", "--output", "json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_START_S, check=False, env=child_environment()
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            raise ConnectionLostError(
                f"kubectl get service/{service}: {lines[-1]}; expected a service in namespace '{namespace}' that"
                " kubectl can reach"
            )
        ports = {int(one["port"]): one.get("name") for one in json.loads(done.stdout)["spec"]["ports"]}
    except FileNotFoundError as error:
        raise _no_kubectl() from error
    except subprocess.TimeoutExpired as error:
        raise ConnectionLostError(
            f"kubectl get service/{service}: no answer within {_START_S:g} s; expected a cluster that kubectl can reach"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        ports = {}
    if _HTTP_PORT in ports:
        return _HTTP_PORT
    named = [port for port, name in ports.items() if name == "http" or len(ports) == 1]
    if len(named) != 1:
        shown = ", ".join(map(str, ports)) or "none"
        raise ClusterError(
            f"service {namespace}/{service} has the ports {shown}; expected kubeflow.port_forward with one of them,"
            f" such as {namespace}/{service}:{next(iter(ports), 8888)}"
        )
    return named[0]


def _no_kubectl() -> ClusterError:
    return ClusterError("kubectl: not found; expected it on the PATH for kubeflow.port_forward")


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
