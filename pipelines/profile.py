"""Profiles: where a pipeline runs and what its steps are given there; the graph itself never changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from spine.values import Value

if TYPE_CHECKING:
    from kfp import dsl

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the mount point itself, not a file in it
Retries = Annotated[int, Field(ge=0, le=100)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$")]


class StepResources(Value):
    """What one step's pod asks for."""

    cpu: Quantity = "2"
    memory: Quantity = "8Gi"
    shared_memory: Quantity | None = None
    """Size of /dev/shm; data loaders that share tensors between processes need it."""
    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    gpu_type: str = "nvidia.com/gpu"
    retries: Retries | None = None
    """In place of the profile's own: training is taken from its node more often than a short step."""


class Kubernetes(Value):
    """Settings that only a cluster has."""

    volume_claim: str
    tracking_secret: str | None = None
    store_secret: str | None = None
    retries: Retries = 2
    timeout_hours: Annotated[int, Field(ge=1)] = 240
    steps: dict[str, StepResources] = Field(default_factory=dict)


class Profile(Value):
    """A whole profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str
    root: str | None = None
    """The shared root as steps see it; None is this machine's own."""
    fold_groups: Literal["each", "together"] = "together"
    images: dict[Literal["data", "train", "registry", "serve"], str] = Field(default_factory=dict)
    """References of images that replace the default ones, by target."""
    kubernetes: Kubernetes | None = None

    def groups(self, folds: Sequence[int]) -> list[list[int]]:
        """Deal folds to tasks."""
        return [[fold] for fold in folds] if self.fold_groups == "each" else [list(folds)]


def load_profile(name: str) -> Profile:
    """Return a profile by its name, or from a path that ends in .yaml; an unknown one lists those that exist."""
    return Profile.named(name, package="pipelines.profiles")


def apply_resources(task: "dsl.PipelineTask", profile: Profile, *, step: str) -> None:
    """Give one task what the profile says; on this machine nothing."""
    # Our own records make steps skippable; kfp's cache would skip registration and promotion too.
    task.set_caching_options(enable_caching=False)
    if profile.kubernetes is None:
        return
    from kfp import kubernetes as k8s

    cluster = profile.kubernetes
    asked = cluster.steps.get(step, StepResources())
    task.set_cpu_request(asked.cpu).set_memory_request(asked.memory).set_memory_limit(asked.memory)
    if asked.gpus:
        task.set_accelerator_type(asked.gpu_type).set_accelerator_limit(asked.gpus)
    retries = cluster.retries if asked.retries is None else asked.retries
    if retries:
        task.set_retry(num_retries=retries, backoff_duration="60s", backoff_factor=2)
    k8s.set_timeout(task, seconds=cluster.timeout_hours * 3600)
    k8s.mount_pvc(task, pvc_name=cluster.volume_claim, mount_path=profile.root or "/spineline")
    if asked.shared_memory:
        k8s.empty_dir_mount(
            task,
            volume_name="shm",
            mount_path=_SHARED_MEMORY,
            medium="Memory",
            size_limit=asked.shared_memory,
        )
    if cluster.tracking_secret:
        k8s.use_secret_as_env(
            task, secret_name=cluster.tracking_secret, secret_key_to_env={"MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_URI"}
        )
    if cluster.store_secret:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        k8s.use_secret_as_env(task, secret_name=cluster.store_secret, secret_key_to_env={key: key for key in keys})
