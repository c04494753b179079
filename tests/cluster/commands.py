"""The programs that the suite calls, kubectl and spineline, each with a list and an explicit environment."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.waiting import wait_until

CALL_S = 180.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    command: str
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout as JSON."""
        return json.loads(self.out)

    def require(self, *codes: int) -> "Answer":
        """Return the answer; raises AssertionError with all that was printed for another exit code than ``codes``."""
        assert self.code in (codes or (0,)), f"{self.command}: exit code {self.code}\n{self.out}\n{self.err}"
        return self


def call(
    command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float = CALL_S, given: str | None = None
) -> Answer:
    """Call a program, with ``given`` on its standard input, and return its answer."""
    done = subprocess.run(
        command,
        env=dict(environment),
        input=given or "",
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Answer(" ".join(command)[:300], done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace."""

    namespace: str
    environment: Mapping[str, str]

    def call(self, *arguments: str, timeout_s: float = CALL_S, given: str | None = None) -> Answer:
        """Call kubectl in the namespace."""
        return call(self._command(*arguments), environment=self.environment, timeout_s=timeout_s, given=given)

    def do(self, *arguments: str, timeout_s: float = CALL_S, given: str | None = None) -> str:
        """Call kubectl and return what it printed; raises AssertionError where it fails."""
        return self.call(*arguments, timeout_s=timeout_s, given=given).require().out

    def items(self, kind: str, *, selector: str | None = None) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        chosen = ["--selector", selector] if selector else []
        found: list[dict[str, Any]] = json.loads(self.do("get", kind, *chosen, "--output", "json"))["items"]
        return found

    def has(self, kind: str, name: str) -> bool:
        """Return whether an object exists."""
        return bool(self.do("get", kind, name, "--ignore-not-found", "--output", "name").strip())

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects."""
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.do("apply", "--filename", "-", given=json.dumps(content))

    def execute(
        self,
        target: str,
        *command: str,
        container: str | None = None,
        timeout_s: float = CALL_S,
        given: str | None = None,
    ) -> Answer:
        """Run a command in a pod, or in one of a Deployment."""
        chosen = ["--container", container] if container else []
        stdin = ["--stdin"] if given is not None else []
        return self.call("exec", *stdin, target, *chosen, "--", *command, timeout_s=timeout_s, given=given)

    @contextlib.contextmanager
    def forwarded(self, service: str, port: int, *, log: Path) -> Iterator[str]:
        """Yield the address at which a Service answers on this machine."""
        command = self._command(
            "port-forward", "--address", "127.0.0.1", f"service/{service}", f"{_free_port()}:{port}"
        )
        with log.open("w") as output:
            process = subprocess.Popen(command, env=dict(self.environment), stdout=output, stderr=output)
        try:

            def address() -> str | None:
                found = _FORWARDING.search(log.read_text())
                assert found or process.poll() is None, f"kubectl port-forward ended: {log.read_text()}"
                return f"http://127.0.0.1:{found[1]}" if found else None

            yield wait_until(address, f"a port-forward to service {service}", timeout_s=60, state=log.read_text)
        finally:
            _end(process)

    def _command(self, *arguments: str) -> list[str]:
        return ["kubectl", "--namespace", self.namespace, *arguments]


@dataclass(frozen=True)
class Spineline:
    """The command line of this environment, with the suite's profile."""

    profile: Path
    environment: Mapping[str, str]
    folder: Path
    """Where the output of commands in the background is kept."""

    def call(self, *arguments: str, profile: Path | None = None, timeout_s: float = CALL_S) -> Answer:
        """Call a command that takes a profile."""
        return call(self._command(*arguments, profile=profile), environment=self._environment, timeout_s=timeout_s)

    def start(self, *arguments: str, name: str) -> "Background":
        """Start a command that takes a profile, in the background."""
        output, errors = self.folder / f"{name}.out", self.folder / f"{name}.err"
        with output.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(
                self._command(*arguments), env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        return Background(process=process, output=output, errors=errors)

    @property
    def _environment(self) -> dict[str, str]:
        return {**self.environment, "SPINELINE_ROOT": str(self.folder / "root")}

    def _command(self, *arguments: str, profile: Path | None = None) -> list[str]:
        program = Path(sys.executable).with_name("spineline")
        return [str(program), *arguments, "--profile", str(profile or self.profile)]


@dataclass(frozen=True)
class Background:
    """A command that runs in the background."""

    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path

    @property
    def told(self) -> str:
        """Everything that was printed so far."""
        return self.output.read_text() + self.errors.read_text()

    def wait_for(self, text: str, *, timeout_s: float) -> str:
        """Return the first line with ``text``."""

        def line() -> str | None:
            found = next((line for line in self.told.splitlines() if text in line), None)
            assert found or self.process.poll() is None, f"the command ended without '{text}':\n{self.told}"
            return found

        return wait_until(line, f"a line with '{text}'", timeout_s=timeout_s, state=lambda: self.told[-2000:])

    def wait(self, *, timeout_s: float) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"waited {timeout_s:g} s for the command to end:\n{self.told[-3000:]}") from None

    def end(self) -> None:
        """End the command as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        _end(self.process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
