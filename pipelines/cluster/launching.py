"""From a request to a run on a cluster: compiled for its profile, checked, uploaded, started or put on a timetable."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cluster import preflight, schedules, starting, submission
from pipelines.cluster.connection import Connection, Told
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.graph import graph_of, read_documents
from pipelines.cluster.pod_requirements import needs_of
from pipelines.profile import Profile, load_profile
from spine.errors import InvalidValueError


@dataclass(frozen=True)
class Launch:
    """A pipeline compiled for a profile, with the arguments that it is to be run with."""

    pipeline: str
    profile: Profile
    file: Path
    arguments: Mapping[str, Any]
    title: str
    """What runs are called; their time is put behind it."""

    @property
    def service_account(self) -> str | None:
        """The service account that the run's pods have."""
        return self.profile.kubernetes.service_account if self.profile.kubernetes else None

    def check(self, tell: Told) -> None:
        """Raise UnsatisfiedProfileError where the cluster lacks what the pods ask for."""
        documents = read_documents(self.file)
        known = graph_of(documents[0]).steps
        preflight.check(
            [one for one in needs_of(documents) if one.step in known],
            profile=self.profile.name,
            endpoint=self.profile.kubeflow,
            service_account=self.service_account,
            tell=tell,
        )

    def start(self, connection: Connection, tell: Told, *, command: Callable[[str, str], str]) -> Any:
        """Upload and start; return the run. ``command`` returns how a command, by its name, is called on a run."""
        version, experiment = self._upload(connection, tell)
        return starting.start(
            connection,
            version=version,
            experiment_id=experiment,
            arguments=self.arguments,
            title=self.title,
            service_account=self.service_account,
            on_wait=tell,
            command=command,
        )

    def schedule(self, connection: Connection, tell: Told, *, cron: str) -> Any:
        """Upload and put on a timetable; return the recurring run."""
        version, experiment = self._upload(connection, tell)
        return schedules.schedule(
            connection,
            name=self.title,
            cron=cron,
            version=version,
            experiment_id=experiment,
            arguments=self.arguments,
            service_account=self.service_account,
            on_wait=tell,
        )

    def _upload(self, connection: Connection, tell: Told) -> tuple[submission.Version, str]:
        version = submission.upload(connection, file=self.file, pipeline=self.pipeline, on_wait=tell)
        return version, submission.experiment(connection, on_wait=tell)


@contextmanager
def compiled(
    pipeline: str, *, profile: Profile, folds: list[int], arguments: Mapping[str, Any], title: str
) -> Iterator[Launch]:
    """Yield the launch of one pipeline; its file is there until the end."""
    from pipelines.compiling import compile_all

    with tempfile.TemporaryDirectory() as scratch:
        files = {file.stem: file for file in compile_all(profile=profile, folds=folds, output=Path(scratch))}
        yield Launch(pipeline=pipeline, profile=profile, file=files[pipeline], arguments=arguments, title=title)


def cluster_profile(name: str, *, host: str | None) -> Profile:
    """Return a profile with a kubernetes section, its endpoint's host replaced where one is given."""
    profile = load_profile(name)
    if profile.kubernetes is None:
        raise InvalidValueError("profile", profile.name, expected="one with a kubernetes section")
    if host is None:
        return profile
    endpoint = Endpoint.parse({**profile.kubeflow.model_dump(), "host": host}, where="--host")
    return profile.model_copy(update={"kubeflow": endpoint})
