"""What a compiled pipeline says of itself: its steps in order, and which folds each round of a loop trains."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Graph:
    """Steps of a pipeline in the order in which they run."""

    steps: tuple[str, ...] = ()
    """Names as we write them, such as ``train_folds``."""
    rounds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What each round of a looped step is given, such as ``("[0]", "[1]")``."""

    @property
    def total(self) -> int:
        """Tasks that a whole run has: a looped step counts once a round."""
        return sum(len(self.rounds.get(step, ("",))) for step in self.steps)

    def folds(self, step: str, number: int | None) -> str:
        """Return how a round of a step is called, such as ``folds 0, 1``; "" for a step without rounds."""
        rounds = self.rounds.get(step, ())
        if number is None or not rounds:
            return ""
        listed = rounds[number].strip("[]") if number < len(rounds) else f"of round {number}"
        return f"{'folds' if ',' in listed else 'fold'} {listed}"


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline: its specification, and the settings of its platform."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def graph_of(specification: Mapping[str, Any] | None) -> Graph:
    """Read the graph from KFP's intermediate representation, also as the server wraps it.

    It is empty where there is none, and for what is of another shape: others' runs may hold anything.
    """
    if not specification:
        return Graph()
    try:
        content = specification.get("pipeline_spec") or specification
        found = dict(_tasks(content, content.get("root", {}), rounds=()))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return Graph()
    return Graph(steps=tuple(found), rounds={step: rounds for step, rounds in found.items() if rounds})


def step_name(task: str) -> str:
    """Return a step's own name for that of its task, which KFP writes with dashes."""
    return task.replace("-", "_")


def _tasks(
    content: Mapping[str, Any], component: Mapping[str, Any], *, rounds: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    tasks = component.get("dag", {}).get("tasks", {})
    for name in _in_order(tasks):
        inner = content.get("components", {}).get(tasks[name]["componentRef"]["name"], {})
        if "executorLabel" in inner:
            yield step_name(name), rounds
        else:
            yield from _tasks(content, inner, rounds=_items(tasks[name]) or rounds)


def _in_order(tasks: Mapping[str, Any]) -> list[str]:
    """Return tasks so that each follows those that it depends on; the file has them by name."""
    placed: list[str] = []
    left = sorted(tasks)
    while left:
        ready = [name for name in left if set(tasks[name].get("dependentTasks", [])) <= set(placed)]
        placed += ready or left
        left = [name for name in left if name not in placed]
    return placed


def _items(task: Mapping[str, Any]) -> tuple[str, ...]:
    raw = task.get("parameterIterator", {}).get("items", {}).get("raw")
    if raw is None:
        return ()
    return tuple(item if isinstance(item, str) else json.dumps(item) for item in json.loads(raw))
