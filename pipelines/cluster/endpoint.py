"""Where Kubeflow Pipelines answers and what a caller shows it: the part of a profile named ``kubeflow``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipelines.kubernetes_values import Url, VolumeName
from spine.values import Value


class Endpoint(Value):
    """Where Kubeflow Pipelines answers; without a host or a port-forward it is looked for from within the cluster."""

    host: Url | None = None
    """Address of Kubeflow's user interface, such as ``https://kubeflow.example.org`` or ``…/pipeline``."""
    namespace: VolumeName | None = None
    """Namespace of the runs: the user's profile in a Kubeflow of many users, else where the runs' pods are."""
    experiment: Annotated[str, Field(min_length=1, max_length=128)] = "spineline"
    """Experiment that the runs belong to; made where it is not there."""
    token_file: Path | None = None
    """File with the token of a service account, read again whenever it changes."""
    cookies_file: Path | None = None
    """File with the cookies of a login by browser, such as ``oauth2_proxy_kubeflow=…``."""
    port_forward: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+(:[1-9][0-9]{0,4})?$")] | None = None
    """Service to reach through kubectl instead of a host, as namespace/service or namespace/service:port."""
    ca_file: Path | None = None
    """Certificate of the authority that signed the host's own, in PEM."""
