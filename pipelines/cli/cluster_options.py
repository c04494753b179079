"""Options that every command on a cluster shares, and the cluster that they choose."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.profile import Profile

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, or the beginning of it.")]
ProfileOption = Annotated[str, typer.Option(help="Profile of the cluster, or a path to a .yaml.")]
HostOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Kubeflow Pipelines' address, in place of the profile's.")
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Don't follow the run until it ends.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]
PROFILE = "kubernetes"


@dataclass(frozen=True)
class Choice:
    """The cluster that a command is for, and how it answers."""

    profile: str = PROFILE
    host: str | None = None
    as_json: bool = False

    def resolved(self) -> "Profile":
        """Return the profile, with the host that was given."""
        from pipelines.cluster.launching import cluster_profile

        return cluster_profile(self.profile, host=self.host)

    def command(self, name: str, run_id: str) -> str:
        """Return the command line of another command, such as ``runs logs``, on the same run."""
        return shlex.join(["spineline", *name.split(), run_id[:8], *self._options()])

    def run_command(self, *options: str) -> str:
        """Return the command that starts a training on the same cluster."""
        return shlex.join(["spineline", "run", "--on", "kubernetes", *self._options(), *options])

    def schedule_command(self, option: str, name: str) -> str:
        """Return the command that does something with a schedule of the same cluster."""
        return shlex.join(["spineline", "schedules", option, name, *self._options()])

    def _options(self) -> list[str]:
        profile = [] if self.profile == PROFILE else ["--profile", self.profile]
        host = ["--host", self.host] if self.host else []
        return [*profile, *host]
