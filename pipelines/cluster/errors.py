"""What can go wrong between this machine and a cluster: one class a condition, each told in one line."""

from spine.errors import SpinelineError
from spine.logs import INTERRUPTED


class ClusterError(SpinelineError):
    """Kubeflow Pipelines can't be reached, or refuses what it is sent."""


class ConnectionLostError(ClusterError):
    """No answer, or one that says to come again: whoever can wait may try once more."""


class WrongEndpointError(ClusterError):
    """What answers is not Kubeflow Pipelines."""


class NotSignedInError(ClusterError):
    """The token or cookies are missing, refused or expired."""


class NotAllowedError(ClusterError):
    """Whoever asks is known, and may not do this."""


class NotThereError(ClusterError):
    """What was asked for does not exist on the server."""


class AlreadyThereError(ClusterError):
    """What was to be made exists on the server: someone else made it a moment before."""


class ServerFaultError(ClusterError):
    """The server met a fault of its own, and may be well again later."""


class UnknownRunError(ClusterError):
    """No run, more than one, or one in another state is meant."""


class UnsatisfiedProfileError(ClusterError):
    """The cluster lacks what the profile asks for."""

    def __init__(self, profile: str, problems: list[str], *, where: str) -> None:
        self.problems = problems
        message = "; ".join(problems)
        super().__init__(
            f"profile '{profile}' can't be satisfied by {where}: {message}; expected a profile that names what is"
            " there, or --unchecked where it comes on demand"
        )


class RunFailedError(ClusterError):
    """A run ended otherwise than by success."""

    exit_code = 1


class DetachedError(ClusterError):
    """The user stopped following a run that goes on."""

    exit_code = INTERRUPTED

    def __init__(self, run_id: str, *, follow: str) -> None:
        super().__init__(f"detached; {goes_on(run_id, follow=follow)}")


class UncertainError(ClusterError):
    """The user interrupted before the answer came: what was asked for may be done."""

    exit_code = INTERRUPTED


def goes_on(run_id: str, *, follow: str) -> str:
    """Return the words for a run that nobody follows any more; ``follow`` is the command that does it again."""
    return f"run {run_id} goes on; follow it again with `{follow}`"
