"""Steps of a compiled pipeline in order, the folds of each iteration of its loop, and the retries of each step."""

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
    """Argument of each iteration of a looped step, such as ``("[0]", "[1]")``."""
    retries: Mapping[str, int] = field(default_factory=dict)
    """How often each step may be tried again after its first attempt."""
    backoff_s: Mapping[str, int] = field(default_factory=dict)
    """Seconds that the cluster waits before it tries a step again."""
    pipeline: str = ""
    """Name of the pipeline, such as ``train-candidate``."""

    @property
    def total(self) -> int:
        """Number of tasks of a whole run: a looped step counts once per iteration."""
        return sum(len(self.rounds.get(step, ("",))) for step in self.steps)

    def folds(self, step: str, number: int | None) -> str:
        """Return the name of an iteration of a step, such as ``folds 0, 1``; "" for a step outside of loops."""
        rounds = self.rounds.get(step, ())
        if number is None or not rounds:
            return ""
        listed = rounds[number].strip("[]") if number < len(rounds) else f"of iteration {number}"
        return f"{'folds' if ',' in listed else 'fold'} {listed}"


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a compiled pipeline: its specification, and the settings of its platform."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def graph_of(specification: Mapping[str, Any] | None) -> Graph:
    """Read the graph from KFP's intermediate representation, also as the server wraps it.

    It is empty where there is no specification, and for one of another shape: runs of others may hold anything.
    """
    if not specification:
        return Graph()
    try:
        content = specification.get("pipeline_spec") or specification
        found = {step: (rounds, task) for step, rounds, task in _tasks(content, content.get("root", {}), rounds=())}
        policies = {step: task.get("retryPolicy", {}) for step, (_, task) in found.items()}
        return Graph(
            steps=tuple(found),
            rounds={step: rounds for step, (rounds, _) in found.items() if rounds},
            retries={step: int(policy.get("maxRetryCount", 0)) for step, policy in policies.items()},
            backoff_s={
                step: int(float(str(policy.get("backoffDuration", "0s")).rstrip("s")))
                for step, policy in policies.items()
            },
            pipeline=str(content.get("pipelineInfo", {}).get("name", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return Graph()


def step_name(task: str) -> str:
    """Return the name of the step that a task runs: KFP writes task names with dashes."""
    return task.replace("-", "_")


def _tasks(
    content: Mapping[str, Any], component: Mapping[str, Any], *, rounds: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
    tasks = component.get("dag", {}).get("tasks", {})
    for name in _in_order(tasks):
        inner = content.get("components", {}).get(tasks[name]["componentRef"]["name"], {})
        if "executorLabel" in inner:
            yield step_name(name), rounds, tasks[name]
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
