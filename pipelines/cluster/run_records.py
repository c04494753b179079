"""Record of what people and the supervisor did to a run: a ConfigMap beside it, which outlives its workflow and pods.

Kubeflow Pipelines records neither who stopped a run nor why it was tried again, and its runs can't be annotated.
"""

import json
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


def record_name(run_id: str) -> str:
    """Return the name of a run's ConfigMap."""
    return f"spineline-run-{run_id}"


def record(cluster: Cluster, run_id: str, *, actor: str, action: Action, reason: str = "") -> None:
    """Add an event to a run's record; raises UnaskedError where ConfigMaps can't be written."""
    event = RunEvent(at=datetime.now(UTC), actor=actor, action=action, reason=reason[:1000])
    data = {f"{event.at:%Y%m%dT%H%M%S.%fZ}.{action}": event.model_dump_json()}
    body = {"metadata": {"name": record_name(run_id), "labels": {**LABELS, RUN_LABEL: run_id}}, "data": data}
    # A patch of a ConfigMap that does not exist answers 404, which `read` reports as None: it is created then.
    patched = cluster.read(
        cluster.core.patch_namespaced_config_map, record_name(run_id), cluster.namespace, body, what=_WHAT
    )
    if patched is None:
        cluster.read(cluster.core.create_namespaced_config_map, cluster.namespace, body, what=_WHAT)


def events_of(cluster: Cluster, run_id: str) -> list[RunEvent]:
    """Return the events of a run, the oldest first; raises UnaskedError where ConfigMaps can't be read."""
    found = cluster.read(cluster.core.read_namespaced_config_map, record_name(run_id), cluster.namespace, what=_WHAT)
    content: dict[str, Any] = (found.data if found else None) or {}
    events = []
    for key in sorted(content):
        try:
            events.append(RunEvent.parse(json.loads(content[key]), where=f"ConfigMap {record_name(run_id)}"))
        except (ValueError, SpinelineError):
            continue  # written by hand, or by a later version
    return events


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
        report(f"not recorded who did this and why: {error}; grant the right to create and patch ConfigMaps")


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
