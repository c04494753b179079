"""Events of a run, what people and the supervisor did to it: ConfigMaps that outlive its workflow and pods.

Kubeflow Pipelines records neither who stopped a run nor why it was tried again, and its runs can't be annotated.
"""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from spine.errors import SpinelineError
from spine.values import Value

LABELS = {"app.kubernetes.io/name": "spineline", "app.kubernetes.io/component": "run-record"}
RUN_LABEL = "spineline.io/run"
Action = Literal["stop", "retry"]
_WHAT = "ConfigMaps"
_KEY = "event.json"


class RunEvent(Value):
    """One action on a run."""

    at: datetime
    """When, in UTC."""
    actor: str
    """Who: a person, or the supervisor."""
    action: Action
    reason: str = ""
    """Why, in one line."""
    format: Literal[1] = 1


def record(cluster: Cluster, run_id: str, *, actor: str, action: Action, reason: str = "") -> None:
    """Record an event of a run, never to be changed; raises UnaskedError where ConfigMaps can't be created."""
    event = RunEvent(at=datetime.now(UTC), actor=actor, action=action, reason=reason[:1000])
    body = {
        "metadata": {
            "name": f"spineline-run-{run_id[:8]}-{event.at:%Y%m%d%H%M%S%f}-{secrets.token_hex(2)}",
            "labels": {**LABELS, RUN_LABEL: run_id},
        },
        "data": {_KEY: event.model_dump_json()},
        "immutable": True,
    }
    cluster.read(cluster.core.create_namespaced_config_map, cluster.namespace, body, what=_WHAT)


def events_of(cluster: Cluster, run_id: str) -> list[RunEvent]:
    """Return the events of a run, the oldest first; raises UnaskedError where ConfigMaps can't be listed."""
    listed = cluster.read(
        cluster.core.list_namespaced_config_map,
        cluster.namespace,
        label_selector=f"{RUN_LABEL}={run_id}",
        what=_WHAT,
    )
    events = []
    for found in listed.items if listed else []:
        try:
            where = f"ConfigMap {found.metadata.name}"
            events.append(RunEvent.parse(json.loads((found.data or {})[_KEY]), where=where))
        except (KeyError, ValueError, SpinelineError):
            continue  # made by hand, or by a later version
    return sorted(events, key=lambda event: event.at)


def try_record(
    cluster: Cluster | None,
    run_id: str,
    *,
    actor: str,
    action: Action,
    reason: str = "",
    report: Callable[[str], None],
) -> None:
    """Add an event; report in one line where that is not possible, for the action itself is done."""
    try:
        if cluster is None:
            raise UnaskedError("no access to the Kubernetes API")
        record(cluster, run_id, actor=actor, action=action, reason=reason)
    except UnaskedError as error:
        report(f"not recorded who did this and why: {error}; grant the right to create ConfigMaps")


def stopped_by(run: Any, cluster: Cluster | None) -> str:
    """Return who stopped a run and when, such as ``stopped by ann at 2026-01-31 12:00 UTC``."""
    stops = [status.update_time for status in run.state_history or [] if status.state == "CANCELING"]
    at = _minute(stops[-1]) if stops else ""
    try:
        events = [one for one in events_of(cluster, run.run_id) if one.action == "stop"] if cluster else []
    except UnaskedError:
        events = []
    if events:
        return f"stopped by {events[-1].actor} at {at or _minute(events[-1].at)}"
    return f"stopped at {at}" if at else "stopped"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
