"""A run on a cluster followed from the command line; Ctrl-C leaves it to go on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.cli.cluster_options import Choice
from pipelines.cli.lost_runs import advising
from pipelines.cli.output import print_json, print_line, progress_view, warn
from spine.settings import settings

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
    from pipelines.cluster.endpoint import Endpoint
    from pipelines.cluster.errors import ClusterError
    from pipelines.cluster.following import Follower
    from pipelines.cluster.kubernetes_access import Cluster
    from pipelines.profile import Profile


@contextmanager
def detaching(run_id: str, choice: Choice) -> Iterator[None]:
    """Raise DetachedError on Ctrl-C within the block: the run goes on."""
    from pipelines.cluster.errors import DetachedError

    try:
        yield
    except KeyboardInterrupt:
        raise DetachedError(run_id, follow=choice.command("follow", run_id)) from None


def follow_run(connection: "Connection", run_id: str, profile: "Profile", choice: Choice) -> int:
    """Follow a run to its end and print its final state; raises RunFailedError unless it succeeded."""
    from pipelines.cluster.following import Follower

    with detaching(run_id, choice):
        cluster = cluster_of(profile.kubeflow)
    with progress_view() as view:
        follower = Follower(
            connection=connection,
            run_id=run_id,
            show=view.show,
            report=warn,
            cluster=cluster,
            command=choice.command,
            actor=settings().acting,
        )
        error = _error_of(follower, choice)
    link = connection.link(run_id)
    if choice.as_json:
        message = str(error) if error else None
        print_json({"run": run_id, "state": follower.state, "link": link, "message": message})
    elif error is None:
        print_line(f"run {run_id} {follower.state}: {link}")
    if error:
        raise error
    return 0


def _error_of(follower: "Follower", choice: Choice) -> "ClusterError | None":
    """Follow to the end; return the error of a run that did not succeed."""
    from pipelines.cluster.errors import ClusterError

    try:
        with detaching(follower.run_id, choice), advising(choice):
            follower.follow()
    except ClusterError as error:
        return error
    return None


def cluster_of(endpoint: "Endpoint") -> "Cluster | None":
    """Return the Kubernetes API of a run's pods; None, with a line that says why, where it can't be used."""
    from pipelines.cluster.kubernetes_access import UnaskedError, reach

    try:
        return reach(endpoint)
    except UnaskedError as error:
        warn(f"the Kubernetes API is not used: {error}")
        return None
