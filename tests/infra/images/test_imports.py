"""All that a program imports in its image, late imports included, is installed there: read from the import graph."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest
import yaml
from packaging.utils import canonicalize_name
from typer.main import get_command

from components.images import PROGRAMS, Target, image
from model_registry.pyfunc_model import requirements
from pipelines.cli.app import app

PROJECT = Path(__file__).resolve().parents[3]
OURS = ("spine", "model_registry", "components", "pipelines")
STEPS = sorted(file.parent.name for file in (PROJECT / "components").glob("*/component.py"))
TARGETS = get_args(Target)
COMMANDS = [
    ("pipelines.cli.status", "registry"),
    ("pipelines.version_table", "registry"),
    ("pipelines.cli.versions", "serve"),
    ("model_registry.aliases", "registry"),
]
"""Modules that do the work of commands, and the image in whose pods the documents run them."""
NOT_INSTALLED = {
    ("pipelines.cli.versions", "serve"): ({"mlflow", "sqlalchemy"}, "it warns that the monitor sets MLflow's aliases"),
}
"""Packages that a program imports and its image lacks, and what it does without them."""


class ImportGraph:
    """The imports of the project's modules, those in functions and of modules started with ``python -m`` included."""

    def __init__(self) -> None:
        self._graph = grimp.build_graph(
            *OURS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
        )
        self._distributions = importlib.metadata.packages_distributions()

    def chains(self, entry: str) -> dict[str, str]:
        """Return third-party packages that ``entry`` reaches, each with the imports that lead there."""
        found: dict[str, str] = {}
        chain, todo = {entry: (entry,)}, deque([entry])
        while todo:
            module = todo.popleft()
            package = module.partition(".")[0]
            if package not in OURS:
                if package not in sys.stdlib_module_names:
                    found.setdefault(package, " -> ".join(chain[module]))
                continue
            imports = self._imports(module)
            if module != entry and module.endswith(".component"):
                # The body of a step's function is run in the step's own image.
                imports = {name for name in imports if not name.startswith(module.removesuffix("component"))}
            for imported in imports - chain.keys():
                chain[imported] = (*chain[module], imported)
                todo.append(imported)
        return found

    def lacking(self, entry: str, installed: set[str]) -> dict[str, str]:
        """Return what of it comes with none of the ``installed`` distributions."""
        return {
            package: chain
            for package, chain in self.chains(entry).items()
            if installed.isdisjoint(canonicalize_name(name) for name in self._distributions.get(package, ()))
        }

    def _imports(self, module: str) -> set[str]:
        # A module's packages are imported before it.
        parent = module.rpartition(".")[0]
        imported = self._graph.find_modules_directly_imported_by(module)
        return {*imported, *([parent] if parent else []), *started_by(_source(module))}


def _source(module: str) -> str:
    path = PROJECT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def started_by(source: str) -> Iterator[str]:
    """Yield the modules that a program starts as others: what follows "-m" in a list, a tuple or a call."""
    if '"-m"' not in source:
        return
    for node in ast.walk(ast.parse(source)):
        words = node.elts if isinstance(node, ast.List | ast.Tuple) else node.args if isinstance(node, ast.Call) else []
        yield from named(word.value if isinstance(word, ast.Constant) else None for word in words)


def named(words: Iterator[Any]) -> Iterator[str]:
    """Yield the modules that follow "-m" in a command."""
    return (str(module) for option, module in pairwise(words) if option == "-m" and module)


def imported_by(code: str) -> set[str]:
    """Return the packages that ``python -c`` code imports."""
    nodes = list(ast.walk(ast.parse(code)))
    froms = [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {*froms, *(alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names)}


def entries(command: list[str]) -> set[str]:
    """Return the modules that a command of an image starts with; of `spineline` the one with the command's function."""
    if command[0] == "spineline":
        found: Any = get_command(app)
        for word in takewhile(lambda word: not word.startswith("-"), command[1:]):
            found = found.commands[word]
        return {inspect.unwrap(found.callback).__module__}
    if command[0] not in ("python", "python3"):
        return {script.module for script in importlib.metadata.entry_points(group="console_scripts", name=command[0])}
    return imported_by(command[2]) if command[1] == "-c" else set(named(iter(command)))


def containers(document: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the image and the command of each container of a manifest that runs one of our images."""
    if isinstance(document, list):
        for each in document:
            yield from containers(each)
    elif isinstance(document, dict):
        if str(document.get("image", "")).startswith("spineline/") and "command" in document:
            target = document["image"].removeprefix("spineline/").partition(":")[0]
            yield target, [*document["command"], *document.get("args", ())]
        yield from containers(list(document.values()))


def manifest_commands() -> dict[str, tuple[str, list[str]]]:
    found = {}
    for file in sorted((PROJECT / "infra/kubernetes").rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for number, container in enumerate(containers(document)):
                found[f"{file.relative_to(PROJECT / 'infra/kubernetes')} {number}"] = container
    return found


MANIFESTS = manifest_commands()


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return ImportGraph()


@pytest.fixture(scope="module")
def lacking(graph: ImportGraph, packages_of: Callable[[str], set[str]]) -> Callable[[str, str], dict[str, str]]:
    """A function of a module and a target that gives the imported packages that the image lacks."""
    return lambda entry, target: graph.lacking(entry, packages_of(target))


@pytest.mark.parametrize("step", STEPS)
def test_the_image_of_a_step_has_all_that_it_imports(lacking, step):
    module = f"components.{step}.component"
    asked = getattr(importlib.import_module(module), step).component_spec.implementation.container.image
    target = next(target for target in TARGETS if image(target) == asked)
    assert lacking(module, target) == {}
    assert lacking(f"components.{step}.__main__", target) == {}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_image_of_a_program_has_all_that_it_imports(lacking, program):
    assert lacking(f"components.{program}.__main__", PROGRAMS[program]) == {}


@pytest.mark.parametrize("container", MANIFESTS)
def test_the_image_of_a_container_has_all_that_its_command_imports(lacking, container):
    target, command = MANIFESTS[container]
    assert {entry: lacking(entry, target) for entry in entries(command)} == {entry: {} for entry in entries(command)}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_all_that_its_own_commands_import(lacking, dockerfile, target):
    entrypoint = json.loads(dockerfile.last(target, "ENTRYPOINT"))
    checks = [json.loads(line.partition(" CMD ")[2]) for line in dockerfile.stages[target].all("HEALTHCHECK")]
    for command in filter(None, (entrypoint, *checks)):
        assert {entry: lacking(entry, target) for entry in entries(command)} == {
            entry: {} for entry in entries(command)
        }


@pytest.mark.parametrize(("module", "target"), COMMANDS)
def test_an_image_has_all_that_a_command_in_it_imports(lacking, module, target):
    expected, _ = NOT_INSTALLED.get((module, target), (set(), ""))
    assert lacking(module, target).keys() == expected


def test_mlflow_installs_all_that_the_model_of_a_version_imports(graph, needed_by):
    installed = needed_by("mlflow", *requirements(()))
    assert graph.lacking("model_registry.pyfunc", installed) == {}


def test_an_import_in_a_function_is_followed_and_its_way_named(lacking):
    assert lacking("model_registry.pyfunc", "registry")["torch"].startswith("model_registry.pyfunc -> ")
    assert "numba" in lacking("model_registry.pyfunc", "registry")


def test_a_module_that_is_started_as_a_program_is_followed(graph):
    assert "-> components.train_folds.fold ->" in graph.chains("components.train_folds.main")["torch"]
    assert list(started_by('run([sys.executable, "-m", "a.b", "-m"], ("-m", name))')) == ["a.b"]
