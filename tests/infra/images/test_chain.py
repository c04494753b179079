"""From a data set to a version that is served and rolled back, each program with nothing but what its image has."""

import contextlib
import importlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import nibabel
import pytest

from components.images import Target, image
from pipelines.demo_data import make_demo_data
from spine.phantom import make_scan
from spine.volume.nifti import write_volume
from tests.infra.images.engine import programs_in_containers

RECIPE = {
    "name": "tiny",
    "about": "Hardly trained, for tests.",
    "plan": {
        "planner": "ExperimentPlanner",
        "spacing_mm": [8.0, 8.0, 8.0],
        "patch": [16, 16, 16],
        "batch_size": 2,
        "network": {"features_per_stage": [2, 2, 4]},
    },
    "training": {
        "folds": [0, 1],
        "epochs": 2,
        "iterations_per_epoch": 4,
        "validation_iterations_per_epoch": 1,
        "optimizer": "adamw",
        "initial_learning_rate": 0.001,
        "augmentation_workers": 0,
        "dice_by_epoch": None,
    },
}
OTHER_RECIPE = {**RECIPE, "name": "tiny-single", "training": {**RECIPE["training"], "folds": [0]}}
"""Has one of the same folds: a second version without a second training."""
POLICY = {
    "name": "lenient",
    "about": "Anything passes, for tests.",
    "minimum_scans": 2,
    "floors": {"dice_scan_mean": 0.0},
    "champion": {"margin_overall": 0.9, "margin_region": 0.9},
    "separate_approver": False,
}


@dataclass(frozen=True)
class Site:
    """A root, and the programs of the images that work on it."""

    programs: Callable[[str], Any]
    root: Path
    variables: dict[str, str]

    def step(self, name: str, **inputs: Any) -> str:
        """Run a step as Kubeflow's launcher does, by the command of its component; return its output."""
        component = getattr(importlib.import_module(f"components.{name}.component"), name).component_spec
        container = component.implementation.container
        written = self.root / "outputs.json"
        parameters = {"Output": {"outputFile": str(self.root / "output")}}
        given = {
            "inputs": {"parameterValues": inputs},
            "outputs": {"parameters": parameters, "outputFile": str(written)},
        }
        arguments = [argument.replace("{{$}}", json.dumps(given)) for argument in container.args]
        target = next(target for target in get_args(Target) if image(target) == container.image)
        self._called(target, *container.command, *arguments)
        return str(json.loads(written.read_text())["parameterValues"]["Output"])

    def spineline(self, target: str, *arguments: str) -> None:
        """Run the command line in an image."""
        self._called(target, "spineline", *arguments)

    def _called(self, target: str, *command: str) -> None:
        done: subprocess.CompletedProcess[str] = self.programs(target).call(*command, **self.variables)
        assert done.returncode == 0, f"{target}: {command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    @contextlib.contextmanager
    def server(self, target: str, *command: str, health: str) -> Iterator[None]:
        """Run a server of an image, which answers at ``health`` from then on."""
        log = self.root / f"{target}-{command[-1]}.log"
        process = self.programs(target).start(*command, log=log, **self.variables)
        try:
            deadline = time.monotonic() + 120
            while not answers(health):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def fetched(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=120) as answer:
        return answer.read()


def answers(url: str) -> bool:
    try:
        fetched(url)
    except OSError:
        return False
    return True


@pytest.fixture(params=["packages", "containers"])
def programs(request, tmp_path):
    """A function of a target that gives its programs: with its image's packages on this machine, or in containers."""
    if request.param == "packages":
        return request.getfixturevalue("slim")
    return programs_in_containers(request.getfixturevalue("builds"), tmp_path)


@pytest.mark.slow
def test_a_model_is_trained_served_and_rolled_back_by_the_programs_of_the_images(programs, tmp_path, s3_server, bucket):
    repository = str(make_demo_data(tmp_path, scans=14))
    root = str(tmp_path / "root")
    tracking, monitor, serving = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    port_of = {url: url.rpartition(":")[2] for url in (tracking, monitor, serving)}
    variables = {
        "SPINELINE_ROOT": root,
        "SPINELINE_ACTOR": "ann",
        "SPINELINE_MODEL_STORE": f"s3://{bucket}/models",
        "SPINELINE_S3_ENDPOINT": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    site = Site(programs, tmp_path, variables)
    local = ("--host", "127.0.0.1", "--port")
    mlflow = ("mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--workers", "1",
              "--artifacts-destination", str(tmp_path / "artifacts"), *local, port_of[tracking])  # fmt: skip
    policy = json.dumps(POLICY)

    with contextlib.ExitStack() as servers:
        servers.enter_context(site.server("registry", *mlflow, health=f"{tracking}/health"))
        dataset = site.step(
            "pull_dataset", root=root, repository=repository, revision="main", remote="", recipe=json.dumps(RECIPE),
            policy=policy, actor="ann",
        )  # fmt: skip
        plan = site.step("plan_training", root=root, dataset=dataset, recipe=json.dumps(RECIPE))
        shared = {"root": root, "plan": plan}

        def register(recipe: dict[str, Any]) -> int:
            candidate = {**shared, "recipe": json.dumps(recipe)}
            folds = site.step("train_folds", **candidate, folds=str(recipe["training"]["folds"]), start_from=0)
            candidate["checkpoints"] = [folds]
            evaluation = site.step("evaluate_folds", **candidate)
            verdict = site.step("gate_candidate", **shared, evaluation=evaluation, policy=policy)
            record = site.step("register_candidate", **candidate, evaluation=evaluation, verdict=verdict, actor="ann")
            return int(json.loads(record)["version"])

        def promote(version: int) -> None:
            site.spineline("serve", "approve", str(version), "--reason", "for tests")
            change = {"version": version, "reason": "for tests", "actor": "ann"}
            site.step("promote_model", root=root, action="promote", **change)

        promote(register(RECIPE))
        serve = ("python", "-m", "components.serve_model", *local, port_of[serving])
        servers.enter_context(site.server("serve", *serve, health=f"{serving}/readyz"))
        promote(register(OTHER_RECIPE))
        assert json.loads(fetched(f"{serving}/readyz"))["version"] == 2

        scan = make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0), orientation="PIR").image
        write_volume(tmp_path / "scan.nii.gz", scan)
        labels = tmp_path / "labels.nii.gz"
        labels.write_bytes(fetched(f"{serving}/v1/segmentations", (tmp_path / "scan.nii.gz").read_bytes()))
        assert nibabel.load(labels).shape == nibabel.load(tmp_path / "scan.nii.gz").shape

        site.step("promote_model", root=root, action="roll-back", version=0, reason="for tests", actor="ann")
        assert json.loads(fetched(f"{serving}/readyz"))["version"] == 1
        watch = ("python", "-m", "components.monitor_root", *local, port_of[monitor])
        servers.enter_context(site.server("registry", *watch, health=f"{monitor}/metrics"))
        assert b"spineline_" in fetched(f"{monitor}/metrics")
