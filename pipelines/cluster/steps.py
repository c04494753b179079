"""How far a run is, step by step and fold by fold, read from what Kubeflow Pipelines tells of its tasks."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.graph import Graph, step_name

ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_ROUND = re.compile(r"\((\d+)(?::[^)]*)?\)")
_INNER = re.compile(r"^(root|executor|iteration|for-loop|condition|exit-handler|loop-|.*-driver$)")


@dataclass(frozen=True)
class StepState:
    """What one task of a run does."""

    step: str
    number: int | None
    """Round of the loop that it stands in; None outside of one, or where the server doesn't say."""
    state: str
    message: str = ""


def steps_of(run: Any, graph: Graph) -> list[StepState]:
    """Return the state of each task that works (drivers and loops are KFP's own), in the order of the graph."""
    details = (run.run_details.task_details if run.run_details else None) or []
    tree = _Tree(details)
    found = [
        StepState(step_name(task.display_name), tree.round_of(task), str(task.state or "PENDING"), tree.message(task))
        for task in details
        if _is_step(task.display_name, graph)
    ]
    found += _failed_drivers(details, graph, tree)
    order = {step: place for place, step in enumerate(graph.steps)}
    return sorted(found, key=lambda one: (order.get(one.step, len(order)), one.number or 0))


def failure_of(states: Iterable[StepState]) -> StepState | None:
    """Return the task that failed, one that says why before others."""
    failed = [one for one in states if one.state == "FAILED"]
    return next((one for one in failed if one.message), failed[0] if failed else None)


def _is_step(name: str | None, graph: Graph) -> bool:
    """Tell steps from what is KFP's own; a task without a name is nothing that could be shown."""
    if not name:
        return False
    return step_name(name) in graph.steps if graph.steps else not _INNER.match(name)


def _failed_drivers(details: Iterable[Any], graph: Graph, tree: "_Tree") -> Iterator[StepState]:
    """Yield steps whose driver failed: KFP could not even make their pod."""
    for task in details:
        name = (task.display_name or "").removesuffix("-driver")
        if name != task.display_name and task.state == "FAILED" and _is_step(name, graph):
            yield StepState(step_name(name), tree.round_of(task), "FAILED", tree.message(task) or "its driver failed")


class _Tree:
    """Which task stands in which, where the server tells it by the names of pods."""

    def __init__(self, details: Iterable[Any]) -> None:
        self._by_id: dict[str, Any] = {}
        self._parents: dict[str, Any] = {}
        for task in details:
            self._by_id.update({key: task for key in (task.pod_name, task.task_id) if key})
            for child in task.child_tasks or []:
                if key := child.pod_name or child.task_id:
                    self._parents[key] = task

    def round_of(self, task: Any) -> int | None:
        """Return the round of the loop that a task stands in."""
        seen: set[int] = set()
        above: Any = task
        while above is not None and id(above) not in seen:
            seen.add(id(above))
            above = next(
                (self._parents[key] for key in (above.pod_name, above.task_id) if key in self._parents),
                self._by_id.get(above.parent_task_id or ""),
            )
            name = (above.display_name or "") if above is not None else ""
            if name.startswith("iteration") and (found := _ROUND.search(name)):
                return int(found.group(1))
        return None

    def message(self, task: Any) -> str:
        """Return why a task failed: its own words, else those of what stands in it."""
        queue, seen = [task], set[int]()
        while queue:
            one = queue.pop(0)
            if id(one) in seen:
                continue
            seen.add(id(one))
            if told := _own_message(one):
                return told
            keys = [child.pod_name or child.task_id for child in one.child_tasks or []]
            queue += [self._by_id[key] for key in keys if key in self._by_id]
        return ""


def _own_message(task: Any) -> str:
    faults = [task.error, *(status.error for status in reversed(task.state_history or []))]
    told = next((fault.message for fault in faults if fault and fault.message), "")
    return (told.strip().splitlines() or [""])[-1]
