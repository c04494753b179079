"""Node names, ids and task details as Argo 4.0 and Kubeflow Pipelines 2.17 write them.

Each task of a pipeline is a driver and an executor inside of a node of its own, and every node is wrapped in a retry
node; task details carry neither messages nor names of nodes, and several share a display name. Compared with recorded
runs in ``test_fakes.py``.
"""

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import kfp_server_api as models

from pipelines.cluster.argo_nodes import node_id

WORKFLOW = "train-candidate-x7k2p"
_GROUPS = "train-groups-of-folds"
_STEPS = ("pull-dataset", "plan-training", "train-folds", "evaluate-folds", "gate-candidate", "register-candidate")
_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
States = Mapping[str, str | Mapping[int, str]]


def step_node(step: str, number: int | None = None) -> str:
    """The name of a step's own node."""
    root = f"{WORKFLOW}(0).root(0)"
    if step == "train-folds":
        loop = f"{root}.{_GROUPS}(0).for-loop-2(0).iteration-iterations({number or 0}:{number or 0})(0)"
        return f"{loop}.iteration-item(0).train-folds"
    return f"{root}.{step}"


def executor(step: str, number: int | None = None, *, attempt: int = 0) -> str:
    """The name of the node whose pod runs a step."""
    return f"{step_node(step, number)}(0).executor({attempt})"


def driver(step: str = "root") -> str:
    """The name of the node whose pod prepares a step, or the whole pipeline."""
    return f"{WORKFLOW}(0).root-driver(0)" if step == "root" else f"{step_node(step)}-driver(0)"


def pod_id(node: str) -> str:
    """The id of a node, which ends its pod's name as well."""
    return node_id(WORKFLOW, node)


def tasks(
    states: States, *, failures: Mapping[str, int] | None = None, drivers: Mapping[str, str] | None = None
) -> Any:
    """The details of a run's tasks: of each step its state, of train-folds one per iteration.

    ``failures`` counts earlier failures of a step, ``drivers`` are states of drivers other than SUCCEEDED.
    """
    made = _Details(failures or {}, drivers or {})
    made.add_run(states)
    return made.found


class _Details:
    def __init__(self, failures: Mapping[str, int], drivers: Mapping[str, str]) -> None:
        self.found: list[Any] = []
        self._failures, self._drivers = failures, drivers

    def add_run(self, states: States) -> None:
        whole = _worst(_flat(states).values())
        root_driver = self._drivers.get("root", "SUCCEEDED")
        state = "FAILED" if root_driver == "FAILED" else whole
        top, root = f"{WORKFLOW}(0)", f"{WORKFLOW}(0).root(0)"
        self._add(WORKFLOW, state, [top])
        self._add(top, state, [f"{top}.root-driver"])
        self._retried(f"{top}.root-driver", root_driver, [f"{top}.root"])
        if root_driver != "SUCCEEDED":
            return
        listed = [step for step in _STEPS if step in states or step in self._drivers]
        first = _node_of(listed[0]) if listed else ""
        self._add(f"{top}.root", whole, [root])
        self._add(root, whole, [f"{first}-driver"] if first else [])
        for step, following in zip(listed, [*listed[1:], None], strict=True):
            after = [f"{_node_of(following)}-driver"] if following else []
            if step == "train-folds":
                self._add_folds(states[step], after)
            else:
                self._add_step(step_node(step), str(states.get(step) or "PENDING"), after, step)

    def _add_folds(self, states: Any, after: list[str]) -> None:
        group = f"{WORKFLOW}(0).root(0).{_GROUPS}"
        loop = f"{group}(0).for-loop-2"
        whole = _worst(states.values())
        self._retried(f"{group}-driver", "SUCCEEDED", [group])
        self._add(group, whole, [f"{group}(0)"])
        self._add(f"{group}(0)", whole, [loop, *after])
        self._add(loop, whole, [f"{loop}(0)"])
        self._add(f"{loop}(0)", whole, [f"{loop}(0).iteration-driver"])
        iterations = f"{loop}(0).iteration-iterations"
        self._retried(f"{loop}(0).iteration-driver", "SUCCEEDED", [iterations])
        self._add(iterations, whole, [f"{iterations}({number}:{number})" for number in states])
        for number, state in states.items():
            one = f"{iterations}({number}:{number})"
            item = f"{one}(0).iteration-item"
            self._add(one, state, [f"{one}(0)"])
            self._add(f"{one}(0)", state, [f"{item}-driver"])
            self._retried(f"{item}-driver", "SUCCEEDED", [item])
            self._add(item, state, [f"{item}(0)"])
            self._add(f"{item}(0)", state, [f"{item}(0).train-folds-driver"])
            self._add_step(f"{item}(0).train-folds", state, [], "train-folds")

    def _add_step(self, node: str, state: str, after: list[str], step: str) -> None:
        prepared = self._drivers.get(step, "SUCCEEDED")
        self._retried(f"{node}-driver", prepared, [node])
        if prepared != "SUCCEEDED":
            return
        if state == "PENDING":
            self._add(node, state, [])  # listed once the run has ended, with neither a state nor children
            return
        failures = self._failures.get(step, int(state == "FAILED"))
        self._add(node, state, [f"{node}(0)"], failures=failures)
        self._add(f"{node}(0)", state, [f"{node}(0).executor", *after], failures=failures)
        self._add(f"{node}(0).executor", state, [f"{node}(0).executor(0)"], failures=failures)
        self._add(f"{node}(0).executor(0)", state, [], failures=failures)

    def _retried(self, node: str, state: str, children: list[str]) -> None:
        self._add(node, state, [f"{node}(0)"])
        self._add(f"{node}(0)", state, children if state == "SUCCEEDED" else [])

    def _add(self, node: str, state: str, children: list[str], *, failures: int = 0) -> None:
        history = ["RUNNING", *["FAILED", "RUNNING"] * failures]
        if state == "FAILED":
            history = history[:-1] if failures else ["RUNNING", "FAILED"]
        elif state != "RUNNING":
            history.append(state)
        self.found.append(
            models.V2beta1PipelineTaskDetail(
                task_id=f"{len(self.found):08d}-0000-0000-0000-000000000000",
                display_name=_display(node),
                create_time=_START,
                state=None if state == "PENDING" else state,
                state_history=[
                    models.V2beta1RuntimeStatus(update_time=_START, state=one)
                    for one in ([None] if state == "PENDING" else history)
                ],
                child_tasks=[models.PipelineTaskDetailChildTask(pod_name=pod_id(child)) for child in children] or None,
            )
        )


def _node_of(step: str) -> str:
    return f"{WORKFLOW}(0).root(0).{_GROUPS if step == 'train-folds' else step}"


def _display(node: str) -> str:
    depth = 0
    for place in range(len(node) - 1, -1, -1):
        depth += (node[place] == ")") - (node[place] == "(")
        if node[place] == "." and not depth:
            return node[place + 1 :]
    return node


def _flat(states: States) -> dict[str, str]:
    return {
        f"{step} {number}": state
        for step, given in states.items()
        for number, state in (given.items() if isinstance(given, Mapping) else [("", given)])
    }


def _worst(states: Any) -> str:
    found = set(states)
    for state in ("RUNNING", "FAILED", "PENDING", "SUCCEEDED"):
        if state in found:
            return state
    return "RUNNING"


def wait_nodes(step: str, number: int | None, *, reason: str) -> Iterator[dict[str, Any]]:
    """The nodes of a workflow in which a step waits for its next attempt, as the Kubernetes API lists them."""
    retry = f"{step_node(step, number)}(0).executor"
    yield {
        "id": pod_id(retry),
        "name": retry,
        "type": "Retry",
        "phase": "Running",
        "message": "Backoff for 58 seconds",
        "children": [pod_id(f"{retry}(0)")],
    }
    yield {"id": pod_id(f"{retry}(0)"), "name": f"{retry}(0)", "type": "Pod", "phase": "Error", "message": reason}
