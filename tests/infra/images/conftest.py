"""The Dockerfile taken apart; what each image has installed, laid out on this machine without an engine."""

import functools
import importlib.metadata
import os
import re
import shutil
import subprocess
import tomllib
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.images.engine import Builds, base_image, commit_checkout, require_engine

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Stage:
    """One stage of a Dockerfile: what it starts from, and its instructions as (word, rest)."""

    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for found, rest in self.steps if found == word]


class Dockerfile:
    """The stages of a Dockerfile by name."""

    def __init__(self, text: str) -> None:
        self.stages: dict[str, Stage] = {}
        self.arguments: dict[str, str] = {}
        lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for line in filter(None, map(str.strip, lines.replace("\\\n", " ").splitlines())):
            word, rest = line.split(maxsplit=1)
            if word == "FROM":
                parent, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
                stage = self.stages[name] = Stage(parent)
            elif self.stages:
                stage.steps.append((word, rest))
            else:
                name, _, default = rest.partition("=")
                self.arguments[name] = default

    def chain(self, name: str) -> list[Stage]:
        """A stage and those that it starts from, the first one last."""
        stage = self.stages.get(name)
        return [stage, *self.chain(stage.parent)] if stage else []

    def last(self, name: str, word: str) -> str:
        """The instruction of its kind that counts in the end."""
        return next(stage.all(word)[-1] for stage in self.chain(name) if stage.all(word))


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def builds(tmp_path_factory) -> Builds:
    """Images of the project, built by a real engine.

    It needs an engine that answers, whose command is DOCKER's, a base image (SPINELINE_TEST_BASE_IMAGE, or debootstrap
    to make one as root), and for `train` and `serve` a folder of wheels with a torch for the CPU (PIP_FIND_LINKS).
    """
    require_engine()
    base = base_image(PROJECT)
    checkout = tmp_path_factory.mktemp("checkout")
    commit_checkout(PROJECT, checkout)
    return Builds(checkout, base)


@pytest.fixture(scope="session")
def described() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="session")
def dockerfile() -> Dockerfile:
    return Dockerfile((PROJECT / "infra/images/Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def needed_by(described) -> Callable[..., set[str]]:
    """A function of requirements that gives the names of the packages that pip installs for them and the project."""

    def closure(*requirements: str) -> set[str]:
        todo = [*described["dependencies"], *requirements]
        seen: set[tuple[str, str]] = set()
        while todo:
            requirement = Requirement(todo.pop())
            for key in {(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)} - seen:
                seen.add(key)
                todo += _needed(*key)
        return {name for name, _ in seen}

    return closure


@pytest.fixture(scope="session")
def packages_of(described, dockerfile, needed_by) -> Callable[[str], set[str]]:
    """A function of a target that gives the names of the packages in its image, what they need in turn included."""

    @functools.cache
    def closure(target: str) -> set[str]:
        installs = " ".join(dockerfile.stages[f"packages-{target}"].all("RUN"))
        extras = re.search(r"install_packages\.sh (.*)", installs)[1].split()
        return needed_by(*(line for extra in extras for line in described["optional-dependencies"][extra]))

    return closure


@functools.cache
def _needed(name: str, extra: str) -> list[str]:
    needed = [Requirement(line) for line in importlib.metadata.requires(name) or []]
    chosen = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": extra})]
    return [f"{each.name}[{','.join(each.extras)}]" if each.extras else each.name for each in chosen]


@dataclass(frozen=True)
class SlimPython:
    """A Python with nothing but what an image has: the packages of its extras, and the project."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process in the image is given, but for the root and what a site sets."""
        return {
            "PATH": os.pathsep.join((str(self.folder / "bin"), str(Path(shutil.which("git")).parent), os.defpath)),
            "HOME": str(self.folder / "home"),
            "PYTHONSAFEPATH": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run its Python with arguments."""
        return self.call("python", *arguments, **environment)

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Run a command of the image."""
        return subprocess.run(
            command, env={**self.environment, **environment}, cwd=self.folder / "home",
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start(self, *command: str, log: Path, **environment: str) -> subprocess.Popen:
        """Start a command of the image that goes on."""
        with log.open("wb") as output:
            return subprocess.Popen(
                command, env={**self.environment, **environment}, cwd=self.folder / "home",
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip


@pytest.fixture(scope="session")
def slim(packages_of, tmp_path_factory) -> Callable[[str], SlimPython]:
    """A function of a target that gives a Python with only its packages, linked from this one's."""

    @functools.cache
    def laid_out(target: str) -> SlimPython:
        folder = tmp_path_factory.mktemp(target)
        venv.create(folder, symlinks=True, with_pip=False)
        (folder / "home").mkdir()
        (site,) = folder.glob("lib/python3.*/site-packages")
        names = packages_of(target)
        for name in names:
            _link_distribution(importlib.metadata.distribution(name), site, only=names)
            _write_scripts(importlib.metadata.distribution(name), folder / "bin")
        _link_project(folder / "project", site)
        return SlimPython(folder)

    return laid_out


def _link_distribution(distribution: importlib.metadata.Distribution, site: Path, *, only: set[str]) -> None:
    """Link what a distribution has installed: whole folders, but file by file where others have files in them too."""
    for file in distribution.files or ():
        top = file.parts[0]
        if top in ("..", "__pycache__"):
            continue
        linked = Path(top) if _owners()[top] <= only else Path(*file.parts)
        if not (site / linked).is_symlink():
            (site / linked).parent.mkdir(parents=True, exist_ok=True)
            (site / linked).symlink_to(distribution.locate_file(linked))


@functools.cache
def _owners() -> dict[str, set[str]]:
    """The distributions of this environment that have files below each name in site-packages."""
    owners: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)  # parsed at each access
        for top in {file.parts[0] for file in distribution.files or ()}:
            owners.setdefault(top, set()).add(name)
    return owners


def _write_scripts(distribution: importlib.metadata.Distribution, folder: Path) -> None:
    for script in distribution.entry_points.select(group="console_scripts"):
        attribute = f"{script.module}.{script.attr}"
        lines = (f"#!{folder / 'python'}", f"import sys, {script.module}", f"sys.exit({attribute}())", "")
        (folder / script.name).write_text("\n".join(lines))
        (folder / script.name).chmod(0o755)


def _link_project(folder: Path, site: Path) -> None:
    """Lay the project out beside the packages, as ``install_project.sh`` does; nothing else of the checkout."""
    folder.mkdir()
    own = importlib.metadata.distribution("spineline")
    for package in ("spine", "model_registry", "components", "pipelines"):
        (folder / package).symlink_to(PROJECT / package)
    metadata = Path(str(own._path))  # its public interface does not name the folder
    (folder / metadata.name).symlink_to(metadata)
    _write_scripts(own, site.parents[2] / "bin")
    (site / "spineline.pth").write_text(f"{folder}\n")
