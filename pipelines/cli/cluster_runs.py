"""Commands on runs of a cluster: start, follow, stop, retry."""

from typing import TYPE_CHECKING, Annotated, Any

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
from pipelines.cli.lost_runs import advising, raise_where_lost, stop_or_archive
from pipelines.cli.output import print_json, print_line, tell, warn
from pipelines.cli.run_following import cluster_of, detaching, follow_run
from pipelines.cli.run_logs import logs
from pipelines.cli.run_status import list_runs, run_status
from pipelines.cli.schedules import say_schedule, schedules
from pipelines.cli.supervision import supervise
from spine.log_lines import identify
from spine.settings import settings

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.training import TrainingRequest


def add_to(app: typer.Typer) -> None:
    """Add the commands on runs, and the group ``runs`` that holds all of them."""
    group = typer.Typer(
        name="runs",
        no_args_is_help=True,
        help="Runs on a cluster: list and follow them, stop or retry one, read its logs, manage schedules, and retry"
        " failed runs that nobody follows.",
    )
    for command in (follow, stop, retry):
        app.command()(command)
        group.command()(command)
    group.command(name="list")(list_runs)
    group.command(name="status")(run_status)
    group.command()(schedules)
    group.command()(logs)
    group.command()(supervise)
    app.add_typer(group, rich_help_panel="Cluster")


def train(request: "TrainingRequest", choice: Choice, *, detach: bool, cron: str | None, unchecked: bool) -> int:
    """Submit a training run, or put it on a timetable, and follow it; return the exit code."""
    from pipelines.cluster.connection import connected
    from pipelines.cluster.cron import kubeflow_cron
    from pipelines.cluster.schedules import require_branch
    from pipelines.training import compiled_for_cluster

    profile = choice.resolved()
    if cron is not None:
        kubeflow_cron(cron)
        require_branch(request.revision)
    # Whatever is wrong with the request or the endpoint is told before the seconds that compiling takes.
    compiling = compiled_for_cluster(request, profile)
    with connected(profile.kubeflow) as connection, compiling as launch:
        if not unchecked:
            launch.check(warn)
        if cron is not None:
            say_schedule(launch.schedule(connection, warn, cron=cron), cron, choice)
            return 0
        run = launch.start(connection, warn, command=choice.command)
        with detaching(run.run_id, choice):
            _say(connection, run.run_id, choice, message="submitted", is_last=detach)
            return 0 if detach else follow_run(connection, run.run_id, profile, choice)


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
        identify(run=found.run_id)
        tell(connection.link(found.run_id))
        return follow_run(connection, found.run_id, chosen, choice)


def stop(
    run: RunArgument,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Move a lost run, whose workflow was deleted, to Kubeflow's archive."),
    ] = False,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a run on a cluster; `spineline retry` continues it: checkpoints and records stay.

    Kubeflow Pipelines reports a stopped run as FAILED; who stopped it is recorded in the cluster.

    A run whose workflow was deleted can't be stopped: the error names the command that starts it again.

    [bold]Example[/bold]: spineline stop 3f2a91c0 --profile my-cluster.yaml
    """
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected
    from pipelines.cluster.mlflow_runs import end_mlflow_runs
    from pipelines.cluster.run_records import try_record

    choice = Choice(profile=profile, host=host, as_json=as_json)
    endpoint = choice.resolved().kubeflow
    with connected(endpoint) as connection:
        found = runs.find_run(connection, run)
        if stop_or_archive(connection, found, endpoint, choice, is_archiving=archive):
            try_record(cluster_of(endpoint), found.run_id, actor=settings().acting, action="stop", report=warn)
            _say(connection, found.run_id, choice, message="is being stopped", is_last=True)
        end_mlflow_runs(found.run_id, "KILLED", report=warn)


def retry(
    run: RunArgument,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> int:
    """Run again what failed in a run, or was stopped; training continues from its newest checkpoints.

    [bold]Example[/bold]: spineline retry 3f2a91c0 --profile my-cluster.yaml
    """
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected

    choice = Choice(profile=profile, host=host, as_json=as_json)
    chosen = choice.resolved()
    with connected(chosen.kubeflow) as connection:
        found = runs.find_run(connection, run)
        with advising(choice):
            raise_where_lost(found, chosen.kubeflow)
            _retry(connection, found, choice)
        with detaching(found.run_id, choice):
            _say(connection, found.run_id, choice, message="is tried again", is_last=detach)
            return 0 if detach else follow_run(connection, found.run_id, chosen, choice)


def _retry(connection: "Connection", run: Any, choice: Choice) -> None:
    """Ask that a run be tried again; raises UncertainError on Ctrl-C before the answer."""
    from pipelines.cluster import runs
    from pipelines.cluster.errors import UncertainError

    try:
        runs.retry(connection, run)
    except KeyboardInterrupt:
        look = choice.command("status", run.run_id)
        message = f"run {run.run_id} may be tried again already; look with `{look}` before you do this again"
        raise UncertainError(f"interrupted; {message}") from None


def _say(connection: "Connection", run_id: str, choice: Choice, *, message: str, is_last: bool) -> None:
    """Say what became of a run and where it is seen: on stdout where nothing else follows."""
    identify(run=run_id)
    link = connection.link(run_id)
    if not is_last:
        tell(f"run {run_id} {message}: {link}")
    elif choice.as_json:
        print_json({"run": run_id, "link": link})
    else:
        print_line(f"run {run_id} {message}: {link}")
        follow_it = f"follow it with `{choice.command('follow', run_id)}`"
        print_line(follow_it)
