"""The tasks of a run by the names of their Argo nodes, which Kubeflow Pipelines does not report.

A task detail has a display name (several tasks share one) and the ids of its children. An id is a digest of the node's
whole name, so names are built from display names, from the workflow's down, and accepted where the digest agrees.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.argo_nodes import NodeName, node_id


@dataclass(frozen=True)
class NamedTask:
    """A task detail and the name of its node."""

    name: NodeName
    detail: Any

    @property
    def state(self) -> str:
        """State as Kubeflow Pipelines writes it; PENDING for a task that has not begun."""
        return str(self.detail.state or "PENDING")

    @property
    def failures(self) -> int:
        """How often the task failed: a retry of the run puts it back to RUNNING and keeps the history."""
        return sum(status.state == "FAILED" for status in self.detail.state_history or [])

    @property
    def children(self) -> int:
        """Number of children: of an executor's retry node, the attempts that Argo itself made."""
        return len(self.detail.child_tasks or [])


def named_tasks(details: Sequence[Any]) -> list[NamedTask]:
    """Return the tasks whose node names the ids confirm; empty where the server does not report ids of children.

    A task without children is left out unless its display name is unique: nothing tells it from its namesakes.
    """
    workflow = _workflow_of(details)
    if workflow is None:
        return []
    by_display: dict[str, list[Any]] = {}
    for detail in details:
        by_display.setdefault(detail.display_name or "", []).append(detail)
    found: dict[str, Any] = {}
    waiting = [workflow]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        detail = _detail_of(name, by_display, workflow)
        if detail is None:
            continue
        found[name] = detail
        waiting += _children(name, detail, by_display, workflow)
    return [NamedTask(NodeName(name), detail) for name, detail in found.items()]


def _workflow_of(details: Iterable[Any]) -> str | None:
    """Return the workflow's name: the display name of the task whose own child is confirmed by its id."""
    for detail in details:
        name = detail.display_name or ""
        candidates = {node_id(name, child) for child in (f"{name}(0)", f"{name}.root-driver", f"{name}.root")}
        if name and candidates & _child_ids(detail):
            return name
    return None


def _detail_of(name: str, by_display: dict[str, list[Any]], workflow: str) -> Any | None:
    same = by_display.get(_last(name), [])
    if len(same) == 1:
        return same[0]
    for detail in same:
        if next(_children(name, detail, by_display, workflow), None) is not None:
            return detail
    return None


def _children(name: str, detail: Any, by_display: Iterable[str], workflow: str) -> Iterator[str]:
    """Yield the names of a task's children: nodes inside of it, and those that follow it in its graph."""
    ids = _child_ids(detail)
    if not ids:
        return
    parent = name[: -len(_last(name)) - 1]
    for display in by_display:
        inner = f"{name}{display[len(_last(name)) :]}" if display.startswith(f"{_last(name)}(") else f"{name}.{display}"
        for candidate in (inner, f"{parent}.{display}" if parent else ""):
            if candidate and node_id(workflow, candidate) in ids:
                yield candidate


def _child_ids(detail: Any) -> set[str]:
    return {child.pod_name for child in detail.child_tasks or [] if child.pod_name}


def _last(name: str) -> str:
    """Return a node's display name: the last part of its path, brackets included."""
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += (name[place] == ")") - (name[place] == "(")
        if name[place] == "." and not depth:
            return name[place + 1 :]
    return name
