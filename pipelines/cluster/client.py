"""kfp's own client, made for an endpoint: its address, and the token, cookies and authority that it is given."""

import re
import warnings
from pathlib import Path
from typing import Any

from pipelines.cluster.deadline import PunctualPool
from pipelines.cluster.endpoint import Endpoint
from spine.errors import InvalidValueError, MissingPathError

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_IN_CLUSTER_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_IN_CLUSTER_UI = "http://ml-pipeline-ui.kubeflow.svc.cluster.local"
_IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")

_SENDABLE = re.compile(rb"[ -~]+")


def host_of(endpoint: Endpoint) -> str:
    """Return the address of an endpoint: its own, or that which pods of its cluster see."""
    if endpoint.host:
        return endpoint.host.rstrip("/")
    if _POD_NAMESPACE.is_file():
        return _IN_CLUSTER_HOST
    raise InvalidValueError(
        "address of Kubeflow Pipelines",
        None,
        expected="--host URL, or kubeflow.host or kubeflow.port_forward in the profile",
    )


def shown_host(host: str) -> str:
    """Return the address at which people see what the API at ``host`` has."""
    return _IN_CLUSTER_UI if host == _IN_CLUSTER_HOST else host


def make_client(endpoint: Endpoint, host: str) -> Any:
    """Return a kfp.Client; raises MissingPathError or InvalidValueError for a file that is of no use."""
    token, cookies, ca_file = _token_file(endpoint, host), _expanded(endpoint.cookies_file), _expanded(endpoint.ca_file)
    if token:
        _line_of(token, expected="the token of a service account")
    if ca_file and not ca_file.is_file():
        raise MissingPathError(ca_file, expected="a certificate in PEM (kubeflow.ca_file)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        client = kfp.Client(
            host=host,
            # It only keeps the client from asking for one, slowly: every request of ours names its own.
            namespace="spineline",
            cookies=_line_of(cookies, expected="cookies such as 'name=value; name=value'") if cookies else None,
            credentials=ServiceAccountTokenVolumeCredentials(str(token)) if token else None,
            ssl_ca_cert=str(ca_file) if ca_file else None,
        )
    # We wait and try again ourselves, and say so; a redirect is looked at: it leads to a sign-in mostly.
    http = http_of(client).rest_client
    http.pool_manager.connection_pool_kw["retries"] = False
    http.pool_manager = PunctualPool(http.pool_manager)
    return client


def http_of(client: Any) -> Any:
    """Return the part of a kfp.Client that speaks HTTP, and keeps the last response."""
    return client.runs.run_service_get_run.__self__.api_client


def _token_file(endpoint: Endpoint, host: str) -> Path | None:
    # The pod's own token is for the cluster's own pipelines, and shown to nobody else.
    has_own = host == _IN_CLUSTER_HOST and _IN_CLUSTER_TOKEN.is_file()
    return _expanded(endpoint.token_file) or (_IN_CLUSTER_TOKEN if has_own else None)


def _expanded(path: Path | None) -> Path | None:
    return path.expanduser() if path else None


def _line_of(path: Path, *, expected: str) -> str:
    if not path.is_file():
        raise MissingPathError(path, expected=expected)
    lines = path.read_bytes().strip().splitlines()
    if len(lines) != 1:
        raise InvalidValueError(str(path), f"{len(lines)} lines", expected=f"one line: {expected}")
    # What is found is a secret: it is never quoted.
    if not _SENDABLE.fullmatch(lines[0]):
        raise InvalidValueError(str(path), "other than plain characters", expected=f"{expected}, in ASCII")
    return lines[0].decode("ascii")
