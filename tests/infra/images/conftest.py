"""The Dockerfile taken apart; what each image has installed, laid out on this machine without an engine."""

import functools
import importlib.metadata
import os
import re
import subprocess
import tomllib
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.folder / "bin/python", "-P", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def slim(packages_of, tmp_path_factory) -> Callable[[str], SlimPython]:
    """A function of a target that gives a Python with only its packages, linked from this one's."""

    @functools.cache
    def laid_out(target: str) -> SlimPython:
        folder = tmp_path_factory.mktemp(target)
        venv.create(folder, symlinks=True, with_pip=False)
        (packages,) = folder.glob("lib/python3.*/site-packages")
        (packages / "spineline.pth").write_text(f"{PROJECT}\n")
        for name in packages_of(target):
            distribution = importlib.metadata.distribution(name)
            tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
            for top in tops:
                link = packages / top
                if not link.is_symlink():
                    link.symlink_to(distribution.locate_file(top))
        return SlimPython(folder)

    return laid_out
