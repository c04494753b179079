"""Commands on runs that a cluster has: started, followed, looked at, stopped, tried again."""

from typing import TYPE_CHECKING, Any

import typer

from pipelines.cli.cluster_options import (
    PROFILE,
    Choice,
    DetachOption,
    HostOption,
    JsonOption,
    ProfileOption,
    RunArgument,
)
from pipelines.cli.output import console, errors, print_json, print_table, progress_view
from pipelines.cli.schedules import say_schedule

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.profile import Profile
    from pipelines.training import TrainingRequest


def add_to(app: typer.Typer) -> None:
    """Add the commands of this room."""
    for command in (follow, stop, retry):
        app.command()(command)


def train(request: "TrainingRequest", choice: Choice, *, detach: bool, cron: str | None, unchecked: bool) -> int:
    """Submit a training run, or put it on a timetable, and follow it; return the exit code."""
    from pipelines.cluster.connection import connected
    from pipelines.cluster.schedules import kubeflow_cron, require_branch
    from pipelines.training import compiled_for_cluster

    profile = choice.resolved()
    if cron:
        kubeflow_cron(cron)
        require_branch(request.revision)
    # Whatever is wrong with the request or the endpoint is told before the seconds that compiling takes.
    compiling = compiled_for_cluster(request, profile)
    with connected(profile.kubeflow) as connection, compiling as launch:
        if not unchecked:
            launch.check(_tell)
        if cron:
            say_schedule(launch.schedule(connection, _tell, cron=cron), cron, as_json=choice.as_json)
            return 0
        run = launch.start(connection, _tell)
        _say(connection, run.run_id, choice, told="submitted", is_last=detach)
        return 0 if detach else _follow(connection, run, profile, choice)


def follow(
    run: RunArgument, profile: ProfileOption = PROFILE, host: HostOption = None, as_json: JsonOption = False
) -> int:
    """Follow a run on a cluster until it ends; exit code 1 says that it FAILED or was CANCELED.

    Ctrl-C ends the following, never the run.

    [bold]Example[/bold]: spineline follow 3f2a91c0 --profile my-cluster.yaml
    """
    from pipelines.cluster.connection import connected
    from pipelines.cluster.runs import find_run

    choice = Choice(profile=profile, host=host, as_json=as_json)
    chosen = choice.resolved()
    with connected(chosen.kubeflow) as connection:
        found = find_run(connection, run)
        errors.print(connection.link(found.run_id), highlight=False, soft_wrap=True)
        return _follow(connection, found, chosen, choice)


def stop(
    run: RunArgument, profile: ProfileOption = PROFILE, host: HostOption = None, as_json: JsonOption = False
) -> None:
    """Stop a run on a cluster; `spineline retry` goes on where it was: checkpoints and records stay.

    [bold]Example[/bold]: spineline stop 3f2a91c0 --profile my-cluster.yaml
    """
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected

    choice = Choice(profile=profile, host=host, as_json=as_json)
    with connected(choice.resolved().kubeflow) as connection:
        found = runs.find_run(connection, run)
        runs.stop(connection, found)
        _say(connection, found.run_id, choice, told="is being stopped", is_last=True)


def retry(
    run: RunArgument,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run again what failed in a run, or was stopped; training goes on from its newest checkpoints.

    [bold]Example[/bold]: spineline retry 3f2a91c0 --profile my-cluster.yaml
    """
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected

    choice = Choice(profile=profile, host=host, as_json=as_json)
    chosen = choice.resolved()
    with connected(chosen.kubeflow) as connection:
        found = runs.find_run(connection, run)
        runs.retry(connection, found)
        _say(connection, found.run_id, choice, told="is tried again", is_last=detach)
        return 0 if detach else _follow(connection, found, chosen, choice)


def show_run(run: str, choice: Choice) -> int:
    """Print how far a run is; return exit code 1 where it FAILED or was CANCELED."""
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected
    from pipelines.cluster.steps import steps_of

    with connected(choice.resolved().kubeflow) as connection:
        found = runs.find_run(connection, run)
        graph = runs.graph_of_run(connection, found)
        link = connection.link(found.run_id)
    steps = steps_of(found, graph)
    rows = [(one.step, graph.folds(one.step, one.number) or None, one.state, one.message or None) for one in steps]
    if choice.as_json:
        names = ("step", "folds", "state", "message")
        shown = [dict(zip(names, row, strict=True)) for row in rows]
        print_json(
            {"run": found.run_id, "name": found.display_name, "state": found.state, "link": link, "steps": shown}
        )
    else:
        print_table(f"{found.display_name}: {found.state}", ["step", "folds", "state", "message"], rows)
        console.print(link, highlight=False, soft_wrap=True)
    return 1 if found.state in ("FAILED", "CANCELED") else 0


def _follow(connection: "Connection", run: Any, profile: "Profile", choice: Choice) -> int:
    """Follow a run to its end and say how it ended; raises RunFailedError unless well."""
    from pipelines.cluster.following import Follower
    from pipelines.cluster.kubernetes_access import UnaskedError, reach
    from pipelines.cluster.runs import graph_of_run

    try:
        cluster = reach(profile.kubeflow)
    except UnaskedError as error:
        cluster = None
        _tell(f"pods are not watched: {error}")
    with progress_view() as view:
        state = Follower(
            connection=connection,
            run_id=run.run_id,
            graph=graph_of_run(connection, run),
            show=view.show,
            tell=_tell,
            cluster=cluster,
            command=choice.command,
        ).follow()
    link = connection.link(run.run_id)
    if choice.as_json:
        print_json({"run": run.run_id, "state": state, "link": link})
    else:
        console.print(f"run {run.run_id} {state}: {link}", highlight=False, soft_wrap=True)
    return 0


def _tell(line: str) -> None:
    errors.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _say(connection: "Connection", run_id: str, choice: Choice, *, told: str, is_last: bool) -> None:
    """Say what became of a run and where it is seen: on stdout where nothing else follows."""
    link = connection.link(run_id)
    if not is_last:
        errors.print(f"run {run_id} {told}: {link}", highlight=False, markup=False, soft_wrap=True)
    elif choice.as_json:
        print_json({"run": run_id, "link": link})
    else:
        console.print(f"run {run_id} {told}: {link}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"follow it with `{choice.command('follow', run_id)}`", highlight=False, soft_wrap=True)
