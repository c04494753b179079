"""The command that prints the logs of a run's steps."""

from typing import Annotated

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, ProfileOption, RunArgument
from pipelines.cli.output import print_line, warn
from pipelines.cli.run_following import cluster_of


def logs(
    run: RunArgument,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Step, such as train_folds; all steps by default.")
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Fold whose log is printed; all folds by default.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new lines until the run ends; Ctrl-C ends the printing only.")
    ] = False,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
) -> None:
    """Print the logs of a run's steps, the newest attempt of each.

    Logs come from the pods while these exist (an hour after the end), then from Kubeflow's archive.

    [bold]Example[/bold]:

    spineline runs logs 3f2a91c0 train_folds --fold 3 --profile my-cluster.yaml
    """
    from pipelines.cluster import runs
    from pipelines.cluster.connection import connected
    from pipelines.cluster.run_logs import RunLogs

    endpoint = Choice(profile=profile, host=host).resolved().kubeflow
    with connected(endpoint) as connection:
        found = runs.find_run(connection, run)
        reader = RunLogs(
            connection=connection,
            cluster=cluster_of(endpoint),
            graph=runs.graph_of_run(connection, found),
            step=step,
            fold=fold,
        )
        for line in reader.follow(found.run_id, warn) if follow else reader.read(found):
            print_line(line)
