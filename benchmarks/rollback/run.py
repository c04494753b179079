"""Times a rollback from the command to the first answer of the older version: real server, real command, real scans."""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from model_registry.lifecycle import Registry
from spine.phantom import make_scan
from spine.settings import settings
from spine.volume.nifti import write_volume

_WHO = {"actor": "benchmark", "reason": "to measure it"}
_UP_S = 180.0


@dataclass(frozen=True)
class Situation:
    """What a rollback meets, and how fast it must be."""

    name: str
    is_warm: bool
    is_alone: bool
    """Whether MLflow and the model store are hosts that take connections and never answer."""

    @property
    def limit_s(self) -> float:
        """From the command to the first answer."""
        return 5.0 if self.is_warm else 30.0


SITUATIONS = (
    Situation("kept warm", is_warm=True, is_alone=False),
    Situation("kept warm, MLflow and store away", is_warm=True, is_alone=True),
    Situation("cold", is_warm=False, is_alone=False),
    Situation("cold, MLflow and store away", is_warm=False, is_alone=True),
)


@dataclass(frozen=True)
class Run:
    """One rollback, in seconds from the start of the command."""

    answered_s: float
    command_s: float
    failed: int
    """Requests that were not answered with 200 meanwhile."""


def _small_scan() -> bytes:
    """Return a scan of one vertebra, so that the clock is on the rollback and not on an answer's network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        write_volume(path, make_scan(seed=7, patient=1, first=22, last=22, spacing_mm=(4.0, 4.0, 4.0)).image)
        return path.read_bytes()


class Bench:
    """A copy of a root with two versions, a server below it, and a client that never stops asking."""

    def __init__(self, root: Path, *, port: int, environment: dict[str, str]) -> None:
        self.registry = Registry(root)
        newest, older = sorted(self.registry.state().versions, reverse=True)[:2]
        self.newest, self.older = newest, older
        self._url, self._environment = f"http://127.0.0.1:{port}", {**environment, "SPINELINE_PORT": str(port)}
        self._scan = _small_scan()

    def put_in_use(self, version: int) -> None:
        """Write the event that puts an approved version in use, unless it is."""
        serving = self.registry.state().serving
        if serving != version:
            self.registry.promote(version, **_WHO, expected_serving=serving)

    @contextlib.contextmanager
    def server(self) -> Iterator[None]:
        """Run a server that has the version in use loaded."""
        command = [sys.executable, "-m", "components.serve_model", "--root", str(self.registry.root)]
        log = self.registry.root / "server.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, "--port", self._environment["SPINELINE_PORT"]],
                env=self._environment, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            self.wait(lambda model: model.get("version") == self.registry.state().serving)
            yield
        finally:
            process.terminate()
            process.wait()

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until ``condition`` holds of what the server says of itself."""
        deadline = time.monotonic() + _UP_S
        while not condition(self._model()):
            if time.monotonic() > deadline:
                raise SystemExit(f"the server did not come so far: {self._model()}")
            time.sleep(0.05)

    def roll_back(self) -> Run:
        """Run the command, and ask until the older version answers."""
        command = [sys.executable, "-m", "pipelines.cli", "rollback", "--reason", _WHO["reason"]]
        began = time.perf_counter()
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        ended: list[float] = []

        def wait() -> None:
            process.communicate()
            ended.append(time.perf_counter())

        waiting = threading.Thread(target=wait)
        waiting.start()
        failed, version = 0, ""
        with httpx.Client(base_url=self._url, timeout=_UP_S, trust_env=False) as client:
            while version != str(self.older):
                answer = client.post("/v1/segmentations", content=self._scan)
                version = answer.headers.get("x-spineline-version", "")
                failed += answer.status_code != 200
        answered_s = time.perf_counter() - began
        waiting.join()
        if process.returncode:
            raise SystemExit("the command failed")
        return Run(answered_s=answered_s, command_s=ended[0] - began, failed=failed)

    def _model(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = httpx.get(f"{self._url}/v1/model", trust_env=False, timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return content


def measure(root: Path, situation: Situation, *, repeats: int, port: int, pit: str) -> list[Run]:
    """Roll back ``repeats`` times in one situation."""
    away = {
        "SPINELINE_TRACKING_URI": pit, "SPINELINE_S3_ENDPOINT": pit, "SPINELINE_MODEL_STORE": "s3://models/versions",
        "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    environment = {**os.environ, "SPINELINE_ROOT": str(root), **(away if situation.is_alone else {})}
    bench, runs = Bench(root, port=port, environment=environment), []
    with contextlib.ExitStack() as stack:
        for number in range(repeats):
            for version in (bench.older, bench.newest):
                bench.put_in_use(version)
            if number == 0 or not situation.is_warm:
                stack.close()
                stack.enter_context(bench.server())
            bench.wait(lambda model: model.get("version") == bench.newest)
            if situation.is_warm:
                bench.wait(lambda model: bench.older in model.get("versions_in_memory", ()))
            runs.append(bench.roll_back())
    return runs


@contextlib.contextmanager
def tar_pit() -> Iterator[str]:
    """Yield the URL of a host that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as pit:
        yield f"http://127.0.0.1:{pit.getsockname()[1]}"


def _copied(root: Path, target: Path) -> Path:
    """Copy what a server and a rollback need of a root: the ledger, the bundles and MLflow's database."""
    registry = Registry(root)
    shutil.copytree(root / "ledger", target / "ledger")
    for known in registry.state().versions.values():
        shutil.copytree(root / known.bundle, target / known.bundle)
    if (root / "mlflow").is_dir():
        shutil.copytree(root / "mlflow", target / "mlflow")
    return target


def _row(situation: Situation, runs: list[Run]) -> str:
    answered, command = [run.answered_s for run in runs], [run.command_s for run in runs]
    failed = sum(run.failed for run in runs)
    return (
        f"| {situation.name} | {statistics.median(answered):.2f} | {max(answered):.2f} | {situation.limit_s:g} |"
        f" {statistics.median(command):.2f} | {failed} |"
    )


def main() -> None:
    """Measure every situation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=settings().root_path,
        help="a root with two approved versions, as `make demo` leaves it; it is copied (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    print("| the older version is | median s | slowest s | limit s | command ends after s | requests failed |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, tar_pit() as pit:
        root = _copied(given.root.absolute(), Path(folder) / "root")
        for situation in SITUATIONS:
            runs = measure(root, situation, repeats=given.repeats, port=port, pit=pit)
            print(_row(situation, runs), flush=True)


if __name__ == "__main__":
    main()
