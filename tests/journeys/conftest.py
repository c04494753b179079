"""The demonstration as a user runs it, with a tiny network: real DVC, nnU-Net, kfp, MLflow and server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

RECIPE = """
name: {name}
about: Hardly trained; for tests of the chain.
plan:
  planner: ExperimentPlanner
  spacing_mm: [8.0, 8.0, 8.0]
  patch: [16, 16, 32]
  batch_size: 2
  network: {{features_per_stage: [4, 8, 8]}}
training:
  folds: [0, 1]
  epochs: {epochs}
  iterations_per_epoch: 4
  validation_iterations_per_epoch: 1
  optimizer: adamw
  initial_learning_rate: 0.003
  augmentation_workers: 0
  checkpoint_minutes: 0.001
"""
POLICY = """
name: lenient
about: Lets a hardly trained model pass; for tests of the chain.
minimum_scans: 2
floors: {dice_scan_mean: 0.0}
champion: {margin_overall: 0.9, margin_region: 0.9, minimum_region_patients: 2}
separate_approver: false
"""
KUBECTL = """#!{python}
# What kubectl would do in the cluster, here: a command of a pod runs with the root in place of the volume's mount.
import os, sys
with open({log!r}, "a") as log:
    print(" ".join(sys.argv[1:]), file=log)
if "exec" in sys.argv:
    command = [{root!r} if each == "/spineline" else each for each in sys.argv[sys.argv.index("--") + 1:]]
    os.execvp(command[0], command)
"""
DEMO = """
import sys
from pathlib import Path
from model_registry.policy import load_policy
from pipelines.cli import app
from pipelines.demo import run_demo
from spine.recipe import load_recipe
import typer
folder = sys.argv[1]
app.app = typer.Typer()
@app.app.command()
def demo() -> None:
    run_demo(recipes=(load_recipe(folder + "/first.yaml"), load_recipe(folder + "/second.yaml")),
             policy=load_policy(folder + "/lenient.yaml"), scans=14)
sys.exit(app.run([]))
"""


@dataclass(frozen=True)
class Workstation:
    """A root with its own environment, and the commands that run in it."""

    folder: Path
    environment: dict[str, str]

    @property
    def root(self) -> Path:
        return self.folder / "state"

    def python(self, *arguments: str, timeout_s: float = 400) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def spineline(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.python("-m", "pipelines.cli", *arguments)

    def demo(self) -> "subprocess.CompletedProcess[str]":
        return self.python("-c", DEMO, str(self.folder))

    def served(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.environment['SPINELINE_PORT']}/v1/model") as answer:
            return json.load(answer)["version"]


@pytest.fixture(scope="session")
def lenient_policy():
    return POLICY


@pytest.fixture(scope="session")
def workstation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workstation")
    (folder / "first.yaml").write_text(RECIPE.format(name="first", epochs=3))
    (folder / "second.yaml").write_text(RECIPE.format(name="second", epochs=1))
    (folder / "lenient.yaml").write_text(POLICY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SPINELINE_ROOT": str(folder / "state"),
        "SPINELINE_PORT": str(port),
        "SPINELINE_THREADS": "1",
        "SPINELINE_ACTOR": "tester",
        "COLUMNS": "200",
    }
    station = Workstation(folder=folder, environment=environment)
    yield station
    station.spineline("serve", "--stop")


@pytest.fixture(scope="session")
def interrupted(workstation):
    """The demonstration, stopped with SIGTERM while a fold is trained; returns its exit code and what it said."""
    log = workstation.folder / "interrupted.log"
    with log.open("w") as output:
        run = subprocess.Popen(
            [sys.executable, "-c", DEMO, str(workstation.folder)],
            cwd=workstation.folder,
            env=workstation.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 300
        while "fold 0, epoch 0/3" not in log.read_text() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        return run.wait(timeout=90), log.read_text()


@pytest.fixture(scope="session")
def demonstrated(workstation, interrupted):
    """The demonstration after the interruption, run to its end."""
    done = workstation.demo()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def shell_blocks() -> Callable[..., list[str]]:
    """A function of a Markdown file, and of a heading to look below, that returns its blocks of shell as they are."""

    def blocks(path: Path, *, below: str | None = None) -> list[str]:
        return [block for heading, block in _blocks(path) if below in (None, heading)]

    return blocks


@pytest.fixture(scope="session")
def shell_commands(shell_blocks: Callable[..., list[str]]) -> Callable[[Path], list[str]]:
    """A function of a Markdown file that returns its commands: comments dropped, continued lines joined."""

    def commands(path: Path) -> list[str]:
        lines = "\n".join(shell_blocks(path)).replace("\\\n", " ").splitlines()
        found = [re.sub(r"\s{2,}#.*$", "", line).strip() for line in lines]
        return [re.sub(r"\s+", " ", line) for line in found if line]

    return commands


@pytest.fixture
def run_blocks(shell_blocks: Callable[..., list[str]], tmp_path: Path) -> Callable[..., str]:
    """A function that runs the blocks below a heading of a document, and returns what they print.

    Texts in them are ``replaced`` by this test's own first; ``fails`` says that they should end with an error.
    """

    def run(path: Path, heading: str, *, replaced: dict[str, str], fails: bool = False, only: int | None = None) -> str:
        blocks = shell_blocks(path, below=heading)
        assert blocks, f"{path} has no block below {heading!r}"
        script = "\n".join(blocks if only is None else [blocks[only]])
        for old, new in replaced.items():
            script = script.replace(old, new)
        done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert (done.returncode != 0) == fails, f"{heading}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    return run


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that runs here what kubectl would run in a pod; returns the file in which it notes what was asked."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    program, log = tmp_path / "bin" / "kubectl", tmp_path / "kubectl.log"
    program.write_text(KUBECTL.format(python=sys.executable, log=str(log), root=str(tmp_path / "root")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return log


def _blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each block of shell with the heading above it; what looks like a heading in a block of code is none."""
    heading, fence, lines = "", None, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if fence in ("sh", "bash"):
                yield heading, "".join(f"{each}\n" for each in lines)
            fence, lines = (None if fence is not None else line.removeprefix("```")), []
        elif fence is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
