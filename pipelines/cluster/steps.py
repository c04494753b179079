"""State of a run step by step and fold by fold, read from the task details of Kubeflow Pipelines."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.graph import Graph, step_name
from pipelines.cluster.task_tree import NamedTask, named_tasks

ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_ATTEMPT = re.compile(r"\(\d+\)$")
_INTERNAL = re.compile(r"^(root|executor|iteration|for-loop|condition|exit-handler|loop-|.*-driver$)")
_DRIVER = "-driver"
ROOT_DRIVER = "root driver"
"""Name under which the driver of the whole pipeline is reported."""


@dataclass(frozen=True)
class StepState:
    """State of one task of a run."""

    step: str
    number: int | None
    """Iteration of the loop around the task; None outside of loops, or where the server does not report it."""
    state: str
    message: str = ""
    failures: int = 0
    """How often the task failed so far, retries of the run included."""
    attempts: int = 1
    """Attempts that Argo itself made since the run was last started or retried."""
    node: str = ""
    """Name of the task's Argo node; "" where it is unknown."""


def steps_of(run: Any, graph: Graph) -> list[StepState]:
    """Return the state of each task that runs a step, in the order of the graph, and of each driver that failed.

    Drivers and loops belong to Kubeflow Pipelines itself and are listed only where they failed: no step runs then.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    tasks = named_tasks(details)
    found = _by_name(tasks, graph) if tasks else _by_display_name(details, graph)
    order = {step: place for place, step in enumerate(graph.steps)}
    return sorted(found, key=lambda one: (order.get(one.step, len(order)), one.number or 0))


def failures_of(states: Iterable[StepState]) -> list[StepState]:
    """Return the tasks that failed."""
    return [one for one in states if one.state == "FAILED"]


def was_stopped(run: Any) -> bool:
    """Return whether a run ended because somebody stopped it: Kubeflow Pipelines 2.17 reports it as FAILED."""
    states = [status.state for status in run.state_history or []]
    return run.state == "CANCELED" or (run.state == "FAILED" and states[-2:] == ["CANCELING", "FAILED"])


def _by_name(tasks: Sequence[NamedTask], graph: Graph) -> list[StepState]:
    found: dict[tuple[str, int | None], StepState] = {}
    attempts = {one.name.text: one.children for one in tasks if one.name.parts[-1] == "executor"}
    for one in tasks:
        name = one.name
        step, is_driver = step_name(name.task), name.is_driver
        if _ATTEMPT.search(name.text) or name.parts[-1] not in (name.task, f"{name.task}{_DRIVER}", "root-driver"):
            continue  # an attempt of a task, or a node inside of one
        if is_driver and one.state != "FAILED":
            continue
        if not is_driver and step not in (graph.steps or (step,)):
            continue
        message = _message(one.detail) or ("its driver failed" if is_driver else "")
        made = max(1, attempts.get(f"{name.text}(0).executor", 1), attempts.get(f"{name.text}.executor", 1))
        state = StepState(step or ROOT_DRIVER, name.iteration, one.state, message, one.failures, made, name.text)
        known = found.get((state.step, state.number))
        # The whole pipeline can be tried again within one workflow: what has begun counts, not what never will.
        if known is None or _begun(state) >= _begun(known):
            found[state.step, state.number] = state
    return list(found.values())


def _begun(state: StepState) -> bool:
    return state.state != "PENDING"


def _by_display_name(details: Sequence[Any], graph: Graph) -> list[StepState]:
    """Return steps where names of nodes are unknown: several iterations of a step can't be told apart then."""
    found = []
    for task in details:
        name = task.display_name or ""
        if _ATTEMPT.search(name):
            continue  # an attempt of a task that is listed itself
        if _is_step(name, graph):
            found.append(StepState(step_name(name), None, str(task.state or "PENDING"), _message(task)))
        elif name.endswith(_DRIVER) and task.state == "FAILED" and _is_step(name.removesuffix(_DRIVER), graph):
            step = step_name(name.removesuffix(_DRIVER))
            found.append(StepState(step, None, "FAILED", _message(task) or "its driver failed"))
    return found


def _is_step(name: str, graph: Graph) -> bool:
    if not name:
        return False
    return step_name(name) in graph.steps if graph.steps else not _INTERNAL.match(name)


def _message(task: Any) -> str:
    reported = [task.error, *(status.error for status in reversed(task.state_history or []))]
    text = next((fault.message for fault in reported if fault and fault.message), "")
    return (text.strip().splitlines() or [""])[-1]
