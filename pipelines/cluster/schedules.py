"""Recurring runs: the pipeline again and again on a branch of the data set, at the times of a crontab."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.cron import kubeflow_cron
from pipelines.cluster.errors import UnknownRunError
from pipelines.cluster.lost_runs import is_archived
from pipelines.cluster.runs import equals, pages
from pipelines.cluster.steps import ENDED
from pipelines.cluster.submission import Version, reference_of, runtime_of
from spine.errors import InvalidValueError

_COMMIT = re.compile(r"^[0-9a-f]{7,40}$")
_SHORTEST_PREFIX = 4
_DISABLED = "DISABLED"


def require_branch(revision: str) -> None:
    """Raise InvalidValueError for a commit: it never changes, so there would be nothing to do again."""
    if _COMMIT.match(revision):
        raise InvalidValueError("--dataset", revision, expected="a branch with --cron: a commit never changes")


def schedule(
    connection: Connection,
    *,
    name: str,
    cron: str,
    version: Version,
    experiment_id: str,
    arguments: Mapping[str, Any],
    service_account: str | None,
    on_wait: Callable[[str], None],
) -> Any:
    """Return the recurring run: the one of this name that does the same, or a new one.

    One run of it is at work at a time, and times that were missed are not made up for. Raises UnknownRunError where
    one of this name does something else.
    """
    from kfp_server_api import RecurringRunMode, V2beta1CronSchedule, V2beta1RecurringRun, V2beta1Trigger

    body = V2beta1RecurringRun(
        display_name=name,
        experiment_id=experiment_id,
        pipeline_version_reference=reference_of(version),
        runtime_config=runtime_of(arguments),
        service_account=service_account,
        trigger=V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=kubeflow_cron(cron))),
        mode=RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
    )

    def attempt() -> Any:
        for known in schedules(connection):
            if known.display_name == name:
                _require_same(known, body)
                return known
        made = connection.ask(
            connection.api.recurring_runs.recurring_run_service_create_recurring_run, recurring_run=body
        )
        connection.required(made, "recurring_run_id")
        return made

    return connection.insist(attempt, on_wait=on_wait)


def schedules(connection: Connection) -> Iterator[Any]:
    """Yield all recurring runs."""
    yield from pages(
        connection,
        connection.api.recurring_runs.recurring_run_service_list_recurring_runs,
        field="recurring_runs",
        namespace=connection.namespace,
    )


def find(connection: Connection, name: str) -> Any:
    """Return the recurring run with this name, id, or beginning of an id; raises UnknownRunError unless exactly one."""
    everything = list(schedules(connection))
    found = [one for one in everything if name in (one.display_name, one.recurring_run_id)]
    if not found and len(name) >= _SHORTEST_PREFIX:
        found = [one for one in everything if one.recurring_run_id.startswith(name)]
    if len(found) != 1:
        listed = ", ".join(f"'{one.display_name}' ({one.recurring_run_id})" for one in found or everything) or "none"
        expected = f"the name or id of one, or the first {_SHORTEST_PREFIX} or more characters of its id"
        raise UnknownRunError(f"schedule '{name}' is {len(found)} of: {listed}; expected {expected}")
    return found[0]


def is_paused(recurring: Any) -> bool:
    """Return whether a recurring run starts no runs until it is resumed."""
    return bool(recurring.status == _DISABLED)


def pause(connection: Connection, recurring: Any) -> None:
    """Start no further runs; those in progress continue."""
    connection.ask(
        connection.api.recurring_runs.recurring_run_service_disable_recurring_run,
        recurring_run_id=recurring.recurring_run_id,
    )


def resume(connection: Connection, recurring: Any) -> None:
    """Start runs again from the next time of the crontab; times that were missed are not made up for."""
    connection.ask(
        connection.api.recurring_runs.recurring_run_service_enable_recurring_run,
        recurring_run_id=recurring.recurring_run_id,
    )


def runs_in_progress(connection: Connection, recurring: Any) -> list[Any]:
    """Return the runs of a recurring run that have not ended; those in Kubeflow's archive are left out."""
    schedule_id = recurring.recurring_run_id
    listed = pages(
        connection,
        connection.api.runs.run_service_list_runs,
        field="runs",
        namespace=connection.namespace,
        filter=equals("recurring_run_id", schedule_id),
    )
    # A gateway may drop the filter.
    mine = [run for run in listed if run.recurring_run_id == schedule_id]
    return [run for run in mine if run.state not in ENDED and not is_archived(run)]


def cron_of(recurring: Any) -> str:
    """Return when a recurring run starts, as crontab's five fields where it has a cron."""
    trigger = recurring.trigger
    if trigger and trigger.cron_schedule:
        return str(trigger.cron_schedule.cron).removeprefix("0 ")
    if trigger and trigger.periodic_schedule:
        return f"every {trigger.periodic_schedule.interval_second} s"
    return "-"


def _require_same(known: Any, wanted: Any) -> None:
    def said(one: Any) -> tuple[Any, ...]:
        reference, runtime = one.pipeline_version_reference, one.runtime_config
        version = reference.pipeline_version_id if reference else None
        parameters = {**((runtime.parameters if runtime else None) or {})}
        parameters.pop("actor", None)  # who scheduled it does not change what it does
        return version, parameters, cron_of(one)

    if said(known) != said(wanted):
        raise UnknownRunError(
            f"schedule '{known.display_name}' ({known.recurring_run_id}) does something else; expected"
            f" `spineline schedules --delete {shlex.quote(known.display_name)}` first"
        )
