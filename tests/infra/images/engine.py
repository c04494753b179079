"""The Docker engine of this machine, if one answers, and the images that it builds of the project."""

import functools
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

DOCKER = os.environ.get("DOCKER", "docker")
MADE_BASE = "spineline/base:bookworm"
LOCKED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
IMAGE_USER = 10001


def docker(*arguments: str, text: bool = True, code: int | None = 0) -> subprocess.CompletedProcess:
    """Run the engine's command; fails the test unless it ends with ``code``, if one is given."""
    done = subprocess.run([DOCKER, *arguments], capture_output=True, text=text, check=False)
    assert code is None or done.returncode == code, (done.stdout[-2000:], done.stderr[-4000:])
    return done


def require_engine() -> None:
    """Skip the test where no engine answers or it cannot build."""
    try:
        answered = docker("version", "--format", "{{.Server.Version}}", code=None)
    except FileNotFoundError:
        pytest.skip(f"{DOCKER}: not installed, so that no image can be built")
    if answered.returncode:
        pytest.skip(f"no Docker engine answers: {answered.stderr.strip().splitlines()[-1]}")
    version = docker("version", "--format", "{{.Client.Version}}").stdout.strip()
    if int(version.partition(".")[0]) >= 23 and docker("buildx", "version", code=None).returncode:
        pytest.skip(f"{DOCKER}: version {version} has no component buildx, so that no image can be built")


def base_image(project: Path) -> str:
    """Return the base to build from: the one given, the one made before, or one made now; else skip the test."""
    if given := os.environ.get("SPINELINE_TEST_BASE_IMAGE"):
        return given
    if docker("image", "inspect", MADE_BASE, code=None).returncode == 0:
        return MADE_BASE
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("no base image: SPINELINE_TEST_BASE_IMAGE is not set, and only root with debootstrap can make one")
    subprocess.run([project / "infra/images/make_base", "--tag", MADE_BASE], check=True)
    return MADE_BASE


def commit_checkout(project: Path, folder: Path) -> None:
    """Copy what an image is built from into ``folder`` and commit it there, so that it stays as it is."""
    patterns = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in exclude_paths(str(project), [line for line in patterns if line and not line.startswith("#")]):
        if (project / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, folder / name)
    author = [f"GIT_{who}_{what}=ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    environment = {**os.environ, **dict(line.split("=") for line in author), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for arguments in (["init", "--quiet"], ["add", "--force", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", folder, *arguments], env=environment, check=True)


@dataclass(frozen=True)
class Builds:
    """Images built from a checkout on a base; each target once."""

    checkout: Path
    base: str

    def build(self, *arguments: str, builder: tuple[str, ...] = ()) -> dict[str, str]:
        """Build targets; return the reference of each."""
        options = ("--docker", DOCKER, "--base-image", self.base)
        # A host's network is there where an engine has no bridge.
        command = [self.checkout / "infra/images/build", *arguments, *options, "--", "--network", "host", *builder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)["images"]

    @functools.cache  # noqa: B019 - one for a session
    def image(self, target: str) -> str:
        """Return the reference of a target, built; skips the test where its torch would be the one with CUDA."""
        if target not in ("train", "serve"):
            return self.build(target)[target]
        wheels = os.environ.get("PIP_FIND_LINKS", "")
        if not wheels or not any(Path(wheels).glob("torch-*+cpu-*.whl")):
            pytest.skip("PIP_FIND_LINKS names no folder with a torch for the CPU, and one with CUDA is gigabytes")
        return self.build(target, "--wheels", wheels)[target]


@dataclass(frozen=True)
class ImagePrograms:
    """The programs of an image, each started in a container of its own that shares this machine's network.

    As root, what they write to in ``folder`` is given to the image's user first; as anybody else they run as that.
    """

    image: str
    folder: Path

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command of the image."""
        return docker(*self._run(), *self._options(environment), self.image, *command, code=None)

    def start(self, *command: str, log: Path, **environment: str) -> subprocess.Popen:
        """Start a command of the image that goes on; a signal to the process reaches it."""
        with log.open("wb") as output:
            return subprocess.Popen(
                [DOCKER, *self._run(), *self._options(environment), self.image, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _run(self) -> tuple[str, ...]:
        return ("run", "--rm", f"--name=spineline-test-{uuid.uuid4().hex[:8]}", "--network=host", *LOCKED)

    def _options(self, environment: dict[str, str]) -> list[str]:
        user, group = os.geteuid() or IMAGE_USER, os.getegid() or IMAGE_USER
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, user, group, follow_symlinks=False)
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        return [f"--user={user}:{group}", f"--volume={self.folder}:{self.folder}", "--entrypoint=", *variables]


def programs_in_containers(builds: Builds, folder: Path) -> Callable[[str], ImagePrograms]:
    """Return a function of a target that gives its image's programs, which see ``folder`` and nothing else."""
    return lambda target: ImagePrograms(builds.image(target), folder)
