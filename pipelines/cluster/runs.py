"""Runs on the server: find one by id or the beginning of it, read, stop and retry it."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from pipelines.cluster import lost_runs
from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import NotThereError, ServerFaultError, UnknownRunError
from pipelines.cluster.graph import Graph, graph_of
from pipelines.cluster.steps import ENDED

_WHOLE_ID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_PREFIX = re.compile(r"^[0-9a-f-]{4,}$")
_PAGE = 100
_EQUALS = "EQUALS"
CANCELING = "CANCELING"
"""State of a run that was stopped and has not ended."""


def find_run(connection: Connection, name: str) -> Any:
    """Return the run of an id, or of the beginning of one; raises UnknownRunError unless exactly one is meant."""
    if _WHOLE_ID.match(name):
        try:
            return get_run(connection, name)
        except NotThereError as error:
            raise UnknownRunError(f"run {name} is not at {connection.place}; expected the id of a run") from error
    if not _PREFIX.match(name):
        raise UnknownRunError(f"run is '{name}'; expected its id, or the first four or more characters of it")
    found = [run for run in runs(connection) if run.run_id.startswith(name)]
    if len(found) != 1:
        listed = ", ".join(run.run_id for run in found[:5]) or "none"
        raise UnknownRunError(f"runs at {connection.place} that begin with '{name}': {listed}; expected one")
    return get_run(connection, found[0].run_id)


def get_run(connection: Connection, run_id: str) -> Any:
    """Return a run as it is now."""
    run = connection.read(connection.api.runs.run_service_get_run, run_id=run_id)
    if getattr(run, "run_id", None) != run_id:
        raise connection.wrong(f"it answers a request for run {run_id} with something else")
    return run


def runs(connection: Connection) -> Iterator[Any]:
    """Yield all runs, the newest first."""
    yield from pages(
        connection,
        connection.api.runs.run_service_list_runs,
        field="runs",
        namespace=connection.namespace,
        sort_by="created_at desc",
    )


def recent_runs(connection: Connection, *, most: int = 500) -> Iterator[Any]:
    """Yield the newest runs."""
    yield from islice(runs(connection), most)


def runs_named(connection: Connection, name: str) -> list[Any]:
    """Return the runs with this display name."""
    listed = pages(
        connection,
        connection.api.runs.run_service_list_runs,
        field="runs",
        namespace=connection.namespace,
        filter=equals("display_name", name),
    )
    # A gateway may drop the filter, and another's run must not be taken for ours.
    return [run for run in listed if run.display_name == name]


def graph_of_run(connection: Connection, run: Any) -> Graph:
    """Return the graph of the pipeline that a run was started from; empty where the server doesn't have it any more."""
    if run.pipeline_spec:
        return graph_of(run.pipeline_spec)
    reference = run.pipeline_version_reference
    if not (reference and reference.pipeline_id and reference.pipeline_version_id):
        return Graph()
    try:
        version = connection.read(
            connection.api.pipelines.pipeline_service_get_pipeline_version,
            pipeline_id=reference.pipeline_id,
            pipeline_version_id=reference.pipeline_version_id,
        )
    except NotThereError:
        return Graph()
    return graph_of(version.pipeline_spec)


def stop(connection: Connection, run: Any) -> None:
    """Request that a run be stopped.

    Raises UnknownRunError where it has ended or is being stopped, RunLostError where its workflow was deleted.
    """
    if run.state in ENDED:
        raise UnknownRunError(f"run {run.run_id} has ended: {run.state}; expected one that has not")
    if run.state == CANCELING:
        raise UnknownRunError(f"run {run.run_id} is being stopped already: {run.state}; wait until it has ended")
    try:
        connection.ask(connection.api.runs.run_service_terminate_run, run_id=run.run_id)
    except ServerFaultError as error:
        raise lost_runs.of_stop(error, run) from error


def retry(connection: Connection, run: Any) -> None:
    """Run again what failed in a run.

    Raises UnknownRunError unless it was stopped or failed, ScheduleDeletedError where its schedule was deleted.
    """
    if run.state not in ("FAILED", "CANCELED"):
        raise UnknownRunError(f"run {run.run_id} is {run.state}; expected one that FAILED or was CANCELED")
    lost_runs.require_schedule(connection, run)
    connection.ask(connection.api.runs.run_service_retry_run, run_id=run.run_id)


def pages(connection: Connection, call: Callable[..., Any], *, field: str, **arguments: Any) -> Iterator[Any]:
    """Yield what a list holds, page after page."""
    given = {name: value for name, value in arguments.items() if value is not None}
    token = ""
    while True:
        page = connection.read(call, page_size=_PAGE, page_token=token, **given)
        yield from getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return


def equals(key: str, value: str) -> str:
    """Return KFP's filter for entries whose ``key`` is ``value``."""
    return json.dumps({"predicates": [{"operation": _EQUALS, "key": key, "string_value": value}]})
