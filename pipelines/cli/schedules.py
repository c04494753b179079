"""The command on a cluster's schedules: list, pause, resume and delete them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, JsonOption, ProfileOption
from pipelines.cli.lost_runs import advising, readable_cluster
from pipelines.cli.output import console, print_json, print_line, print_table, warn
from spine.errors import InvalidValueError

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.cluster.endpoint import Endpoint
    from pipelines.cluster.schedule_deletion import WithRuns

_STATUS = {"ENABLED": "enabled", "DISABLED": "paused"}


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(schedules)


def schedules(
    delete: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Delete the schedule with this name or id, or beginning of an id; its past runs stay listed. Refused"
            " while one of its runs is in progress.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --delete: pause the schedule and wait until its runs have ended.")
    ] = False,
    stop_runs: Annotated[
        bool, typer.Option("--stop-runs", help="With --delete: stop its runs in progress and wait until they ended.")
    ] = False,
    pause: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Begin no further run of this schedule; runs in progress continue."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume a paused schedule, from its next time on.")
    ] = None,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the schedules of a cluster (`spineline run --cron`), or pause, resume or delete one.

    [bold]Example[/bold]:

    spineline schedules --profile my-cluster.yaml

    spineline schedules --pause 'spine on main' --profile my-cluster.yaml

    spineline schedules --delete 'spine on main' --wait --profile my-cluster.yaml
    """
    from pipelines.cluster.connection import connected
    from pipelines.cluster.schedules import schedules as listed

    _require_one(delete=delete, pause=pause, resume=resume)
    _require_delete(delete, wait=wait, stop_runs=stop_runs)
    choice = Choice(profile=profile, host=host, as_json=as_json)
    endpoint = choice.resolved().kubeflow
    with connected(endpoint) as connection:
        if delete is not None:
            with_runs: WithRuns = "wait" if wait else "stop" if stop_runs else "refuse"
            _delete(connection, delete, endpoint, choice, with_runs=with_runs)
        elif (name := pause if pause is not None else resume) is not None:
            _set_paused(connection, name, is_paused=pause is not None, as_json=as_json)
        else:
            _list([_row(one) for one in listed(connection)], as_json=as_json)


def say_schedule(recurring: Any, cron: str, choice: Choice) -> None:
    """Report a schedule and its times."""
    from pipelines.cluster.schedules import is_paused

    name = recurring.display_name
    if choice.as_json:
        print_json({"schedule": recurring.recurring_run_id, "name": name, "cron": cron})
        return
    if is_paused(recurring):
        resume = choice.schedule_command("--resume", name)
        print_line(f"schedule '{name}' ({recurring.recurring_run_id}) exists and is paused; resume it with `{resume}`")
        return
    print_line(f"schedule '{name}' ({recurring.recurring_run_id}) runs at '{cron}', in the cluster's own time")
    delete = choice.schedule_command("--delete", name)
    print_line(f"it trains only where the data have changed; end it with `{delete}`")


def _require_one(**given: str | None) -> None:
    """Raise InvalidValueError where more than one action is given."""
    chosen = [f"--{name}" for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise InvalidValueError("schedules", " and ".join(chosen), expected="one of them at a time")


def _require_delete(delete: str | None, *, wait: bool, stop_runs: bool) -> None:
    """Raise InvalidValueError for an option of a deletion without one, or for both of them."""
    if wait and stop_runs:
        raise InvalidValueError("schedules", "--wait and --stop-runs", expected="one of them")
    if delete is None and (wait or stop_runs):
        option = "--wait" if wait else "--stop-runs"
        raise InvalidValueError("schedules", option, expected="--delete NAME with it")


def _delete(
    connection: "Connection", name: str, endpoint: "Endpoint", choice: Choice, *, with_runs: "WithRuns"
) -> None:
    from pipelines.cluster.schedule_deletion import Deletion
    from pipelines.cluster.schedules import find

    found = find(connection, name)
    deletion = Deletion(
        connection=connection,
        recurring=found,
        cluster=readable_cluster(endpoint),
        report=warn,
        command=choice.schedule_command,
    )
    with advising(choice):
        deletion.delete(with_runs)
    if choice.as_json:
        print_json({"schedule": found.recurring_run_id, "name": found.display_name, "deleted": True})
    else:
        console.print(f"schedule '{found.display_name}' is deleted", highlight=False, markup=False)


def _set_paused(connection: "Connection", name: str, *, is_paused: bool, as_json: bool) -> None:
    from pipelines.cluster import schedules as actions

    found = actions.find(connection, name)
    (actions.pause if is_paused else actions.resume)(connection, found)
    status = "DISABLED" if is_paused else "ENABLED"
    if as_json:
        print_json({"schedule": found.recurring_run_id, "name": found.display_name, "status": status})
    else:
        outcome = "paused; runs in progress continue" if is_paused else "resumed"
        print_line(f"schedule '{found.display_name}' is {outcome}")


def _row(recurring: Any) -> dict[str, object]:
    from pipelines.cluster.schedules import cron_of

    given = (recurring.runtime_config.parameters if recurring.runtime_config else None) or {}
    return {
        "schedule": recurring.recurring_run_id,
        "name": recurring.display_name,
        "cron": cron_of(recurring),
        "data set": given.get("revision"),
        "status": recurring.status,
    }


def _list(rows: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    columns = ["schedule", "name", "cron", "data set", "status"]
    shown = [{**row, "status": _STATUS.get(str(row["status"]), row["status"])} for row in rows]
    print_table("schedules", columns, [[row[column] for column in columns] for row in shown])
