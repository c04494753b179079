"""A compiled pipeline put on a cluster: one version for one content, in one experiment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.cluster.connection import Connection, Told
from pipelines.cluster.errors import AlreadyThereError
from pipelines.cluster.runs import equals, pages
from spine.storage import digest_file, short


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
        made = _found_or_made(
            lambda: _named(
                name,
                connection,
                api.pipelines.pipeline_service_list_pipeline_versions,
                field="pipeline_versions",
                pipeline_id=home,
            ),
            lambda: connection.ask(
                api.pipeline_uploads.upload_pipeline_version, uploadfile=str(file), name=name, pipelineid=home
            ),
        )
        version = connection.required(made, "pipeline_version_id")
        return Version(pipeline_id=home, version_id=version, name=name)

    return connection.insist(attempt, on_wait=on_wait)


def experiment(connection: Connection, *, on_wait: Told) -> str:
    """Return the id of the endpoint's experiment, made where it is not there."""
    from kfp_server_api import V2beta1Experiment

    api, name = connection.api.experiments, connection.endpoint.experiment
    body = V2beta1Experiment(display_name=name, namespace=connection.namespace)

    def attempt() -> str:
        made = _found_or_made(
            lambda: _named(
                name,
                connection,
                api.experiment_service_list_experiments,
                field="experiments",
                namespace=connection.namespace,
            ),
            lambda: connection.ask(api.experiment_service_create_experiment, experiment=body),
        )
        return connection.required(made, "experiment_id")

    return connection.insist(attempt, on_wait=on_wait)


def _pipeline(connection: Connection, name: str) -> str:
    from kfp_server_api import V2beta1Pipeline

    api = connection.api.pipelines
    body = V2beta1Pipeline(display_name=name, namespace=connection.namespace)
    made = _found_or_made(
        lambda: _named(
            name, connection, api.pipeline_service_list_pipelines, field="pipelines", namespace=connection.namespace
        ),
        lambda: connection.ask(api.pipeline_service_create_pipeline, pipeline=body),
    )
    return connection.required(made, "pipeline_id")


def _named(name: str, connection: Connection, listing: Callable[..., Any], **arguments: Any) -> Any | None:
    """Return what is listed under a name; the name is looked at here too: a gateway may drop the filter."""
    listed = pages(connection, listing, filter=equals("display_name", name), **arguments)
    return next((one for one in listed if one.display_name == name), None)


def _found_or_made(find: Callable[[], Any | None], make: Callable[[], Any]) -> Any:
    """Return what is there, else make it; who makes it a moment before us has made it for us as well."""
    if found := find():
        return found
    try:
        return make()
    except AlreadyThereError:
        if found := find():
            return found
        raise


def reference_of(version: Version) -> Any:
    """Return what a run says of the version that it is of."""
    from kfp_server_api import V2beta1PipelineVersionReference

    return V2beta1PipelineVersionReference(pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id)


def runtime_of(arguments: Mapping[str, Any]) -> Any:
    """Return a run's arguments as the server takes them."""
    from kfp_server_api import V2beta1RuntimeConfig

    return V2beta1RuntimeConfig(parameters=dict(arguments))
