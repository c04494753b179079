"""The command on what a cluster runs again and again."""

import shlex
from typing import Annotated, Any

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, JsonOption, ProfileOption
from pipelines.cli.output import console, print_json, print_line, print_table


def add_to(app: typer.Typer) -> None:
    """Add the command of this room."""
    app.command()(schedules)


def schedules(
    delete: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Delete the one with this name or id, or beginning of an id; its runs stay."),
    ] = None,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what a cluster runs again and again (`spineline run --cron`), or delete one of them.

    [bold]Example[/bold]:

    spineline schedules --profile my-cluster.yaml

    spineline schedules --delete 'spine on main' --profile my-cluster.yaml
    """
    from pipelines.cluster import schedules as room
    from pipelines.cluster.connection import connected

    choice = Choice(profile=profile, host=host, as_json=as_json)
    with connected(choice.resolved().kubeflow) as connection:
        if delete is None:
            _list([_row(one) for one in room.schedules(connection)], as_json=as_json)
            return
        gone = room.delete(connection, delete)
    if as_json:
        print_json({"schedule": gone.recurring_run_id, "name": gone.display_name, "deleted": True})
    else:
        console.print(f"schedule '{gone.display_name}' is deleted", highlight=False, markup=False)


def say_schedule(recurring: Any, cron: str, *, as_json: bool) -> None:
    """Say what runs from now on, and when."""
    name = recurring.display_name
    if as_json:
        print_json({"schedule": recurring.recurring_run_id, "name": name, "cron": cron})
        return
    told = f"schedule '{name}' ({recurring.recurring_run_id}) runs at '{cron}', in the cluster's own time"
    print_line(told)
    console.print("it trains only where the data have changed; end it with", end=" ", highlight=False)
    print_line(f"`spineline schedules --delete {shlex.quote(name)}`")


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
    print_table("schedules", columns, [[row[column] for column in columns] for row in rows])
