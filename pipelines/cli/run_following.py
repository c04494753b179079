"""A run on a cluster followed from the command line: shown as it moves, told how it ended, left to go on by Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.cli.cluster_options import Choice
from pipelines.cli.output import print_json, print_line, progress_view, warn

if TYPE_CHECKING:
    from pipelines.cluster.connection import Connection
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
    """Follow a run to its end and say how it ended; raises RunFailedError unless well."""
    from pipelines.cluster.following import Follower

    with detaching(run_id, choice):
        cluster = _cluster(profile)
    with progress_view() as view:
        follower = Follower(
            connection=connection, run_id=run_id, show=view.show, tell=warn, cluster=cluster, command=choice.command
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
    """Follow to the end; return what there is to say of it unless it is good."""
    from pipelines.cluster.errors import ClusterError

    try:
        with detaching(follower.run_id, choice):
            follower.follow()
    except ClusterError as error:
        return error
    return None


def _cluster(profile: "Profile") -> "Cluster | None":
    """Return the Kubernetes API of a run's pods; None, told why, where it can't be asked."""
    from pipelines.cluster.kubernetes_access import UnaskedError, reach

    try:
        return reach(profile.kubeflow)
    except UnaskedError as error:
        warn(f"pods are not watched: {error}")
        return None
