"""Runs that the suite starts, and what tests do to them and read of them."""

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.commands import Answer, Background, Kubectl, Spineline
from tests.cluster.kubeflow_api import stop_runs
from tests.cluster.run_pods import RUN_LABEL, RunPod, run_pods
from tests.cluster.waiting import wait_until

TRAIN = "train_folds"
START_S, END_S = 600.0, 1200.0
CHECKPOINT_S = 10.0
"""Longer than the 6 s between two checkpoints of the suite's recipes (``checkpoint_minutes``)."""
KILL_PYTHON = """
import contextlib, os, signal
for number in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
    with contextlib.suppress(OSError):
        if number != os.getpid() and os.path.basename(os.readlink(f"/proc/{number}/exe")).startswith("python"):
            os.kill(number, signal.SIGKILL)
"""
"""Kills the step's program, its oldest process first, and leaves Kubeflow's launcher, which reports that."""


_EPOCH = re.compile(r"fold \d+, epoch (\d+)(?:\.\d+)?/")


def epochs_done(log: str) -> int:
    """Return the highest number of finished epochs that a log of the training step reports."""
    return max((int(found) for found in _EPOCH.findall(log)), default=0)


EVENT_LABEL = "spineline.io/run"
"""Label of the ConfigMaps that record who did what to a run."""


@dataclass
class TrainingRun:
    """One run."""

    run_id: str
    spineline: Spineline
    kubectl: Kubectl
    profile: Path
    follower: Background | None = None

    def follow(self) -> Background:
        """Follow the run in the background, unless that is done."""
        if self.follower is None or self.follower.process.poll() is not None:
            self.follower = self.spineline.start("follow", self.run_id, name=f"follow-{self.run_id}")
        return self.follower

    def end_following(self) -> None:
        """Follow the run no longer: the supervisor alone retries it."""
        if self.follower is not None:
            self.follower.end()
            self.follower = None

    def status(self) -> dict[str, Any]:
        """Return what ``spineline status RUN --json`` prints."""
        found: dict[str, Any] = self.spineline.call("status", self.run_id, "--json").require(0, 1).json()
        return found

    def pods(self, step: str = TRAIN) -> list[RunPod]:
        """Return the pods of a step, the oldest first."""
        return [pod for pod in run_pods(self.all_pods()) if pod.step == step]

    def all_pods(self) -> list[dict[str, Any]]:
        """Return all pods of the run, those of Kubeflow's drivers included, as Kubernetes describes them."""
        return self.kubectl.items("pods", selector=f"{RUN_LABEL}={self.run_id}")

    def wait_for_training(self, *, after: frozenset[str] = frozenset(), timeout_s: float = START_S) -> RunPod:
        """Return a pod that trains and has written a checkpoint; not one whose uid is in ``after``."""

        def look() -> RunPod | None:
            found = [pod for pod in self.pods() if pod.is_running and pod.uid not in after]
            return next((pod for pod in found if self._has_trained(pod)), None)

        pod = wait_until(look, f"run {self.run_id} to train", timeout_s=timeout_s, state=self.describe)
        time.sleep(CHECKPOINT_S)
        return pod

    def wait_for_state(self, *states: str, timeout_s: float = END_S) -> dict[str, Any]:
        """Return the status once the run is in one of ``states``."""

        def look() -> dict[str, Any] | None:
            found = self.status()
            return found if found["state"] in states else None

        what = f"run {self.run_id} to be {' or '.join(states)}"
        return wait_until(look, what, timeout_s=timeout_s, state=self.describe)

    def kill_training(self, pod: RunPod) -> None:
        """Kill the training program of a pod with SIGKILL, as the kernel does."""
        self.kubectl.execute(f"pod/{pod.name}", "python", "-c", KILL_PYTHON, container="main")

    def evict(self, pod: RunPod) -> None:
        """Evict a pod through the eviction API, as a drain does."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": self.kubectl.namespace},
        }
        path = f"/api/v1/namespaces/{self.kubectl.namespace}/pods/{pod.name}/eviction"
        self.kubectl.do("create", "--raw", path, "--filename", "-", given=json.dumps(body))

    def delete_workflow(self) -> None:
        """Delete the run's workflow object, and with it its pods."""
        self.kubectl.do("delete", "workflows.argoproj.io", "--selector", f"{RUN_LABEL}={self.run_id}", timeout_s=300)

    def delete_pods(self) -> None:
        """Delete all pods of the run, and wait until they are gone."""
        self.kubectl.do("delete", "pods", "--selector", f"{RUN_LABEL}={self.run_id}", "--now", timeout_s=300)

    def events(self) -> list[dict[str, Any]]:
        """Return who did what to the run, from its ConfigMaps, the oldest first."""
        selector = f"{EVENT_LABEL}={self.run_id}"
        answer = self.kubectl.do("get", "configmaps", "--selector", selector, "--output", "json")
        events = [json.loads(one["data"]["event.json"]) for one in json.loads(answer)["items"]]
        return sorted(events, key=lambda event: str(event["at"]))

    def logs(self, *arguments: str) -> Answer:
        """Return the answer of ``spineline runs logs``."""
        return self.spineline.call("runs", "logs", self.run_id, *arguments)

    def stop(self) -> None:
        """Stop the run."""
        self.spineline.call("stop", self.run_id).require()

    def describe(self) -> str:
        """Return the run's pods in one line each, and what its follower printed, for an error."""
        listed = self.kubectl.call("get", "pods", "--selector", f"{RUN_LABEL}={self.run_id}").out
        return "\n".join([listed, *(self.follower.told.splitlines()[-15:] if self.follower else [])])

    def _has_trained(self, pod: RunPod) -> bool:
        return epochs_done(self.kubectl.call("logs", f"pod/{pod.name}", "--container", "main").out) >= 2


@dataclass
class Launcher:
    """Starts runs, and removes all that were started."""

    spineline: Spineline
    kubectl: Kubectl
    repository: str
    revision: str
    folder: Path
    """Where recipes and the policy lie."""
    runs: list[TrainingRun] = field(default_factory=list)

    def arguments(self, *, recipe: str, seed: int, folds: str, revision: str | None = None) -> list[str]:
        """Return the options of ``spineline run`` that choose what is trained."""
        return [
            "--on", "kubernetes", "--repository", self.repository, "--dataset", revision or self.revision,
            "--recipe", str(self.folder / f"{recipe}.yaml"), "--policy", str(self.folder / "policy.yaml"),
            "--folds", folds, "--seed", str(seed),
        ]  # fmt: skip

    def start(
        self, *, recipe: str, seed: int, folds: str = "0", revision: str | None = None, profile: Path | None = None
    ) -> TrainingRun:
        """Start a run."""
        chosen = self.arguments(recipe=recipe, seed=seed, folds=folds, revision=revision)
        answer = self.spineline.call("run", *chosen, "--detach", "--json", profile=profile, timeout_s=300).require()
        return self.adopt(answer.json()["run"], profile=profile)

    def adopt(self, run_id: str, *, profile: Path | None = None) -> TrainingRun:
        """Return a run that was started otherwise, to be removed with the others."""
        run = TrainingRun(run_id, self.spineline, self.kubectl, profile or self.spineline.profile)
        self.runs.append(run)
        return run

    def stop_all(self) -> None:
        """End the followers and stop what is in progress."""
        for run in self.runs:
            run.end_following()
        stop_runs(self.spineline.profile, [run.run_id for run in self.runs])

    def remove_all(self) -> None:
        """Delete workflows and records of all runs."""
        for run in self.runs:
            self.kubectl.call(
                "delete", "workflows.argoproj.io", "--selector", f"{RUN_LABEL}={run.run_id}", timeout_s=300
            )
            self.kubectl.call("delete", "configmaps", "--selector", f"{EVENT_LABEL}={run.run_id}")
