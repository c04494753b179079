"""The images for real: built, started as nobody with a read-only root, asked for a verdict, a prediction, a rollback.

What they need is in ``conftest.py``; without an engine they are skipped.
"""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from components.images import image
from model_registry.lifecycle import Registry
from spine.phantom import make_scan
from spine.volume.nifti import write_volume
from tests.infra.images.engine import LOCKED, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
PREDICT = """
import sys, urllib.request
scan = open('/scans/scan.nii.gz', 'rb').read()
request = urllib.request.Request('http://127.0.0.1:8642/v1/segmentations', data=scan)
sys.stdout.buffer.write(urllib.request.urlopen(request, timeout=120).read())
"""


@pytest.fixture(scope="session")
def registry_image(builds) -> str:
    return builds.image("registry")


@pytest.fixture(scope="session")
def serve_image(builds) -> str:
    return builds.image("serve")


@pytest.fixture
def root(registry_with_two_versions: Registry, tmp_path) -> Path:
    """A root with two versions, the second in use, that an image's user may write to; and a scan beside it."""
    (tmp_path / "scans").mkdir()
    scan = make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0), orientation="PIR").image
    write_volume(tmp_path / "scans/scan.nii.gz", scan)
    registry_with_two_versions.promote(1, actor="cid", reason="for tests", expected_serving=None)
    registry_with_two_versions.promote(2, actor="cid", reason="for tests", expected_serving=1)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return registry_with_two_versions.root


def layers(name: str) -> list[str]:
    return json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", name).stdout)


def size(name: str) -> int:
    """Bytes of an image's files."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", name).stdout)


class Container:
    """A running container of the `serve` image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def health(self) -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", self.name).stdout.strip()

    def wait_until(self, condition: Callable[[], bool], *, told: str, limit_s: float = 180) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {told}: {docker('logs', self.name).stderr[-4000:]}"
            time.sleep(1)

    def python(self, code: str, *, text: bool = True) -> CompletedProcess:
        return docker("exec", self.name, "python", "-c", code, text=text)

    def version(self) -> int | None:
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8642/readyz').read().decode())"
        done = docker("exec", self.name, "python", "-c", code, code=None)
        return json.loads(done.stdout).get("version") if done.returncode == 0 else None


@pytest.fixture
def serving(serve_image, root) -> Iterator[Container]:
    name = f"spineline-test-{uuid.uuid4().hex[:8]}"
    mounts = (f"--volume={root}:/spineline", f"--volume={root.parent / 'scans'}:/scans:ro")
    # Its own loopback and no other: the port can't be another server's.
    docker("run", "--detach", "--name", name, "--network=none", *LOCKED, *mounts, serve_image, "--without-tokens")
    yield Container(name)
    docker("rm", "--force", name)


def test_registry_runs_as_nobody_without_pip_and_writes_nowhere(registry_image):
    code = """
import getpass, importlib.util, json, os, pathlib
written = []
for folder in ('/', '/opt/venv', '/opt/spineline/lib', '/home', '/var/tmp', '/etc'):
    try:
        pathlib.Path(folder, 'x').touch()
        written.append(folder)
    except OSError:
        pass
pip = importlib.util.find_spec('pip') is not None
print(json.dumps([os.getuid(), os.getgid(), getpass.getuser(), pip, written]))
"""
    done = docker("run", "--rm", "--network=none", *LOCKED, registry_image, "python", "-c", code)
    assert json.loads(done.stdout) == [10001, 10001, "spineline", False, []]


def test_registry_gates_a_candidate(registry_image, bundles, tmp_path):
    for name, copy in (("evaluation.json", "candidate.json"), ("policy.json", "policy.yaml")):
        shutil.copy(bundles[1] / name, tmp_path / copy)
    tmp_path.chmod(0o755)
    done = docker(
        "run", "--rm", "--network=none", *LOCKED, f"--volume={tmp_path}:/given:ro", registry_image,
        "spineline", "gate", "--candidate", "/given/candidate.json", "--policy", "/given/policy.yaml", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout)["outcome"] == "pass"


def test_bill_of_materials_names_what_is_installed(registry_image):
    code = "import importlib.metadata as m; print('\\n'.join(f'{d.name}=={d.version}' for d in m.distributions()))"
    run = ("run", "--rm", "--network=none", *LOCKED, registry_image)
    installed = set(docker(*run, "python", "-c", code).stdout.split())
    bill = json.loads(docker(*run, "cat", "/opt/spineline/sbom.cdx.json").stdout)
    named = [each for each in bill["components"] if each["purl"].startswith(("pkg:pypi/", "pkg:generic/spineline@"))]
    assert {f"{each['name']}=={each['version']}" for each in named} == installed
    assert any(each["purl"].startswith("pkg:deb/debian/libc6@") for each in bill["components"])


def test_the_same_commit_gives_the_same_layers(builds, registry_image):
    first = layers(registry_image)
    builds.build("registry", builder=("--no-cache",))
    assert layers(image("registry")) == first


def test_train_and_serve_share_the_layer_of_torch(builds, serve_image):
    train, serve = layers(builds.image("train")), layers(serve_image)
    # Above it, each has its other packages and the project with its bill of materials.
    assert train[:-2] == serve[:-2] and not set(train[-2:]) & set(serve[-2:])
    added = [int(size) for size in docker("history", "--human=false", "--format={{.Size}}", serve_image).stdout.split()]
    assert max(added) > 0.9 * (size(serve_image) - size(builds.base))


def test_server_gets_healthy_predicts_follows_a_rollback_and_ends_when_asked(serving, registry_image, root):
    serving.wait_until(lambda: serving.health() == "healthy", told="its health check")
    serving.wait_until(lambda: serving.version() == 2, told="version 2")
    before = serving.python(PREDICT, text=False).stdout
    assert before[:2] == b"\x1f\x8b"
    docker(
        "run", "--rm", f"--network=container:{serving.name}", *LOCKED, f"--volume={root}:/spineline", registry_image,
        "spineline", "rollback", "--reason", "for tests",
    )  # fmt: skip
    serving.wait_until(lambda: serving.version() == 1, told="version 1")
    assert serving.python(PREDICT, text=False).stdout != before
    # The places of the two mounts, which the engine makes, and nothing that the server wrote.
    assert set(docker("diff", serving.name).stdout.splitlines()) == {"A /spineline", "A /scans"}
    docker("stop", "--time", "60", serving.name)
    ended = docker("inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", serving.name).stdout.split()
    assert ended == ["0", "false"]
    assert "Application shutdown complete" in docker("logs", serving.name).stderr
