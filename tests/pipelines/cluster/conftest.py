"""The real command line, against servers that hold every request to the contracts of KFP and Kubernetes."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import pipelines.compiling
from pipelines.cli.app import run
from pipelines.cluster import (
    connection,
    following,
    pod_watch,
    reconnection,
    run_logs,
    run_retries,
    schedule_deletion,
    starting,
)
from pipelines.cluster.endpoint import Endpoint
from pipelines.profile import Profile
from spine.settings import settings
from spine.storage import digest_value
from tests.pipelines.cluster.fakes.kfp_server import KfpServer
from tests.pipelines.cluster.fakes.kubectl import Kubectl
from tests.pipelines.cluster.fakes.kubernetes_server import KubernetesServer

REPOSITORY = "https://git.example/spine-data.git"


@dataclass(frozen=True)
class Told:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that begins with "error: "."""
        (line,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        return line


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled_once: Callable[..., list[Path]]) -> Iterator[None]:
    """Looks and waits that take no time, no kubeconfig but the test's own, and an empty root."""
    for module, name, value in (
        (following, "POLL_S", 0.01),
        (pod_watch, "PODS_POLL_S", 0.0),
        (reconnection, "FIRST_WAIT_S", 0.01),
        (reconnection, "LONGEST_WAIT_S", 0.02),
        (connection, "TIMEOUT_S", (1.0, 1.0)),
        (following, "PATIENCE", reconnection.Patience(lost_s=math.inf, odd_s=0.05)),
        (starting, "SETTLE_S", 0.05),
        (run_retries, "FIRST_WAIT_S", 0.01),
        (run_logs, "POLL_S", 0.01),
        (schedule_deletion, "POLL_S", 0.01),
        (schedule_deletion, "SETTLE_S", 0.01),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(pipelines.compiling, "compile_all", compiled_once)
    kubeconfig(monkeypatch, tmp_path / "no kubeconfig")
    monkeypatch.setenv("SPINELINE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("SPINELINE_REPOSITORY", REPOSITORY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """compile_all, which compiles what differs: for many tests the same profile, whose endpoint is no part of it."""
    made: dict[str, Path] = {}

    def compile_all(*, profile: Profile, folds: list[int], output: Path) -> list[Path]:
        plain = profile.model_copy(update={"kubeflow": Endpoint()})
        key = digest_value({"profile": plain.digest, "folds": folds})
        if key not in made:
            made[key] = tmp_path_factory.mktemp("compiled")
            compiling.compile_all(profile=profile, folds=folds, output=made[key])
        return [Path(shutil.copy(file, output)) for file in sorted(made[key].iterdir())]

    compiling = SimpleNamespace(compile_all=pipelines.compiling.compile_all)
    return compile_all


def kubeconfig(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make ``path`` the kubeconfig of this process, as KUBECONFIG would at its start."""
    from kubernetes.config import kube_config

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))


@pytest.fixture
def kfp_server() -> Iterator[Callable[..., KfpServer]]:
    """A function that starts a Kubeflow Pipelines; at the end none was sent what it would not understand."""
    servers: list[KfpServer] = []

    def start(**given: Any) -> KfpServer:
        servers.append(KfpServer(**given))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    assert [line for server in servers for line in server.broken] == []


@pytest.fixture
def kfp(kfp_server: Callable[..., KfpServer]) -> KfpServer:
    """A Kubeflow Pipelines with one user that asks for no sign-in."""
    return kfp_server()


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KubernetesServer]:
    """A cluster that has what the profile asks for, and that the kubeconfig names."""
    server = KubernetesServer()
    kubeconfig(monkeypatch, server.write_kubeconfig(tmp_path / "kubeconfig"))
    yield server
    server.close()
    assert server.broken == []


@pytest.fixture
def write_profile(tmp_path: Path) -> Callable[..., Path]:
    """A function of an endpoint and settings of the cluster that writes a profile."""

    def write(kubeflow: dict[str, Any], **cluster: Any) -> Path:
        content = {
            "name": "lab",
            "about": "For tests.",
            "fold_groups": "each",
            "kubeflow": kubeflow,
            "kubernetes": {
                "volume_claim": "spineline-root",
                "service_account": "spineline-pipeline",
                "tracking_secret": "spineline-mlflow",
                "steps": {
                    "train_folds": {
                        "cpu": "4",
                        "memory": "32Gi",
                        "shared_memory": "8Gi",
                        "gpus": 1,
                        "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
                    }
                },
                **cluster,
            },
        }
        path = tmp_path / "lab.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def profile(kfp: KfpServer, write_profile: Callable[..., Path]) -> Path:
    """A profile whose endpoint is ``kfp``."""
    return write_profile({"host": kfp.url, "namespace": "spineline"})


@pytest.fixture
def spineline(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """A function that runs one command and returns its exit code and streams."""

    def call(*arguments: object) -> Told:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return Told(code=code, out=streams.out, err=streams.err)

    return call


@pytest.fixture
def submit(spineline: Callable[..., Told], profile: Path) -> Callable[..., Told]:
    """A function of further options that submits a training of folds 0 and 1."""

    def call(*options: object) -> Told:
        return spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0,1", *options)

    return call


@pytest.fixture
def ask(spineline: Callable[..., Told], write_profile: Callable[..., Path]) -> Callable[..., Told]:
    """A function of an endpoint that asks for the schedules there."""

    def call(**kubeflow: str) -> Told:
        return spineline("schedules", "--profile", write_profile(kubeflow))

    return call


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kfp: KfpServer) -> Kubectl:
    """A kubectl on the path that forwards to ``kfp``."""
    program = Kubectl(tmp_path / "bin", port=kfp.port)
    monkeypatch.setenv("PATH", f"{program.folder}:/usr/bin:/bin")
    return program
