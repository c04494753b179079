"""The Kubernetes API behind the pipelines, for whoever may use it: asked before a run, and about its pods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipelines.cluster.endpoint import Endpoint
from spine.errors import SpinelineError

TIMEOUT_S = (5, 15)
SINGLE_USER_NAMESPACE = "kubeflow"
"""Where runs are in a Kubeflow that has one user and whose profile names no namespace."""


class UnaskedError(SpinelineError):
    """The Kubernetes API did not say: no access, no right, or no answer."""


class UnreadError(UnaskedError):
    """One kind of object can't be read or understood; others may be."""


@dataclass
class Cluster:
    """One namespace of a cluster; what is absent is None, what may not be read raises UnreadError."""

    apis: Any
    core: Any
    custom: Any
    namespace: str
    where: str
    """How messages name the cluster."""
    unread: list[str] = field(default_factory=list)
    """Kinds of objects that may not be read."""

    def read(self, call: Callable[..., Any], *arguments: Any, what: str, **named: Any) -> Any | None:
        """Return the object that ``call`` reads, None where there is none."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, **named, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status == 404:
                return None
            if error.status == 403:
                raise UnreadError(f"{self.where}: may not read {what}") from error
            reason = "the sign-in was refused" if error.status == 401 else str(error.status)
            raise UnaskedError(f"{self.where}: {reason}") from error
        except (HTTPError, OSError, ValueError) as error:
            raise UnaskedError(f"{self.where} does not answer; expected a kubeconfig whose cluster does") from error


def reach(endpoint: Endpoint) -> Cluster:
    """Return the cluster that this machine's kubeconfig, or the pod that this is, names; raises UnaskedError."""
    from kubernetes import client, config

    namespace = endpoint.namespace or SINGLE_USER_NAMESPACE
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
        where = "this cluster"
    except config.ConfigException:
        try:
            config.load_kube_config(client_configuration=configuration)
            where = f"the cluster of kubeconfig's context '{config.list_kube_config_contexts()[1]['name']}'"
        except (config.ConfigException, OSError, KeyError, TypeError) as error:
            raise UnaskedError("no kubeconfig that names a cluster") from error
        except (yaml.YAMLError, ValueError, AttributeError) as error:
            raise UnaskedError("the kubeconfig can't be read; expected YAML that names a cluster") from error
    configuration.retries = False
    api = client.ApiClient(configuration)
    return Cluster(
        apis=client.ApisApi(api),
        core=client.CoreV1Api(api),
        custom=client.CustomObjectsApi(api),
        namespace=namespace,
        where=where,
    )
