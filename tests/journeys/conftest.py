"""The demonstration as a user runs it, with a tiny network: real DVC, nnU-Net, kfp, MLflow and server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
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
