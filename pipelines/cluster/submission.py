"""A compiled pipeline put on a cluster: one version for one content, one experiment, one run for one request."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.runs import equals, pages, run_named
from spine.storage import digest_file, short

Told = Callable[[str], None]


@dataclass(frozen=True)
class Version:
    """A version of a pipeline that the server has."""

    pipeline_id: str
    version_id: str
    name: str


def upload(connection: Connection, *, file: Path, pipeline: str, on_wait: Told) -> Version:
    """Return the version of ``pipeline`` with the content of ``file``: the one that is there, or a new one.

    A version's name carries the digest of its content, by which it is found again.
    """
    name = f"{pipeline}-{short(digest_file(file))}"
    api = connection.api

    def attempt() -> Version:
        home = _pipeline(connection, pipeline)
        listing = api.pipelines.pipeline_service_list_pipeline_versions
        listed = pages(
            connection, listing, field="pipeline_versions", pipeline_id=home, filter=equals("display_name", name)
        )
        known = next((version for version in listed if version.display_name == name), None)
        made = known or connection.ask(
            api.pipeline_uploads.upload_pipeline_version, uploadfile=str(file), name=name, pipelineid=home
        )
        return Version(pipeline_id=home, version_id=made.pipeline_version_id, name=name)

    return connection.insist(attempt, on_wait=on_wait)


def _pipeline(connection: Connection, name: str) -> str:
    api = connection.api.pipelines
    listed = pages(
        connection,
        api.pipeline_service_list_pipelines,
        field="pipelines",
        namespace=connection.namespace,
        filter=equals("display_name", name),
    )
    for pipeline in listed:
        if pipeline.display_name == name:
            return str(pipeline.pipeline_id)
    from kfp_server_api import V2beta1Pipeline

    body = V2beta1Pipeline(display_name=name, namespace=connection.namespace)
    return str(connection.ask(api.pipeline_service_create_pipeline, pipeline=body).pipeline_id)


def experiment(connection: Connection, *, on_wait: Told) -> str:
    """Return the id of the endpoint's experiment, made where it is not there."""
    from kfp_server_api import V2beta1Experiment

    api, name = connection.api.experiments, connection.endpoint.experiment

    def attempt() -> str:
        listed = pages(
            connection,
            api.experiment_service_list_experiments,
            field="experiments",
            namespace=connection.namespace,
            filter=equals("display_name", name),
        )
        for found in listed:
            if found.display_name == name:
                return str(found.experiment_id)
        body = V2beta1Experiment(display_name=name, namespace=connection.namespace)
        return str(connection.ask(api.experiment_service_create_experiment, experiment=body).experiment_id)

    return connection.insist(attempt, on_wait=on_wait)


def start(
    connection: Connection,
    *,
    version: Version,
    experiment_id: str,
    arguments: Mapping[str, Any],
    title: str,
    service_account: str | None,
    on_wait: Told,
) -> Any:
    """Start a run and return it: once, also where the answer to the first request was lost."""
    from kfp_server_api import V2beta1Run

    # The name is this request's own: a run that carries it was started by it.
    name = f"{title} {time.strftime('%Y-%m-%d %H-%M-%S')} {secrets.token_hex(3)}"
    body = V2beta1Run(
        experiment_id=experiment_id,
        display_name=name,
        pipeline_version_reference=reference_of(version),
        runtime_config=runtime_of(arguments),
        service_account=service_account,
    )
    was_sent = False

    def attempt() -> Any:
        nonlocal was_sent
        known = run_named(connection, name) if was_sent else None
        was_sent = True
        return known or connection.ask(connection.api.runs.run_service_create_run, run=body)

    run = connection.insist(attempt, on_wait=on_wait)
    if not run.run_id:
        raise ClusterError(f"{connection.place} gave the run '{name}' no id; expected one")
    return run


def reference_of(version: Version) -> Any:
    """Return what a run says of the version that it is of."""
    from kfp_server_api import V2beta1PipelineVersionReference

    return V2beta1PipelineVersionReference(pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id)


def runtime_of(arguments: Mapping[str, Any]) -> Any:
    """Return a run's arguments as the server takes them."""
    from kfp_server_api import V2beta1RuntimeConfig

    return V2beta1RuntimeConfig(parameters=dict(arguments))
