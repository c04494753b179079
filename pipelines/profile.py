"""Profiles: where a pipeline runs and what its steps are given there; the graph itself never changes."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.images import Target, image
from pipelines.cluster.endpoint import Endpoint
from pipelines.kubernetes_values import (
    BucketUrl,
    Folder,
    FoldGroups,
    ImageReference,
    ObjectName,
    Place,
    Url,
    VariableName,
    VolumeName,
)
from pipelines.mounts import is_below, root_faults, secret_faults
from pipelines.step_secrets import PURPOSE_OF, TRACKING_STEPS, Purpose, StoreSecrets
from pipelines.step_settings import STEPS, Step, StepSettings
from spine.values import FieldConflictError, Value

DEFAULT_ROOT = "/spineline"
_OURS = (
    "SPINELINE_ROOT", "SPINELINE_RUN", "SPINELINE_IMAGE", "SPINELINE_THREADS", "SPINELINE_METRICS_PORT", "HOME",
    "LOGNAME", "PYTHONUNBUFFERED",
)  # fmt: skip


class Security(Value):
    """Whom a step runs as; the rest of the restricted standard is set by Kubeflow Pipelines itself."""

    user: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] = 10001
    """User id, never root; the images' own."""
    group: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] = 10001
    """Group id, never root."""


class Environment(Value):
    """Where services are, as every step is told by its environment; nothing secret."""

    s3_endpoint: Url | None = None
    """Endpoint of an S3 store other than AWS."""
    checkpoint_store: BucketUrl | None = None
    """Where checkpoints are copied to while training."""
    checkpoint_minutes: Annotated[int, Field(strict=True, ge=1, le=1440)] | None = None
    """Minutes between two checkpoints, in place of the recipe's: the most that a lost pod costs."""
    ledger: Place | None = None
    """Where the ledger lies; below the root where not given."""
    model_store: Place | None = None
    """Where versions' bundles are kept; the root alone by default."""
    log_format: Literal["text", "json"] = "json"
    """How log lines are written."""
    variables: dict[VariableName, str] = Field(default_factory=dict)
    """Any other variable, such as AWS_DEFAULT_REGION."""

    def as_variables(self) -> dict[str, str]:
        """Return the variables of the environment by their names."""
        message = self.model_dump(exclude={"variables"}, exclude_none=True)
        endpoint = {"MLFLOW_S3_ENDPOINT_URL": self.s3_endpoint} if self.s3_endpoint else {}
        return {
            **{f"SPINELINE_{name.upper()}": str(value) for name, value in message.items()},
            **endpoint,
            **self.variables,
        }

    def store_purposes(self) -> frozenset[Purpose]:
        """Return what the stores that are named here need keys for."""
        used: set[Purpose] = set()
        if _is_on_s3(self.ledger):
            used |= {"models", "models_read", "checkpoints"}  # training reads the version that it may start from
        if _is_on_s3(self.model_store):
            used.add("models")
        if self.checkpoint_store:
            used.add("checkpoints")
        return frozenset(used)


class Kubernetes(Value):
    """Settings that only a cluster has."""

    volume_claim: VolumeName
    """PersistentVolumeClaim of the root, ReadWriteMany."""
    cache_claim: VolumeName | None = None
    """Claim of the DVC cache, mounted at `objects/` of the root; part of the root where not given."""
    service_account: ObjectName | None = None
    """Service account of a run's pods; Kubeflow's default where not given."""
    tracking_secret: VolumeName | None = None
    """Secret with the key MLFLOW_TRACKING_URI; only steps that use MLflow get it."""
    store_secret: VolumeName | None = None
    """Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; only steps that use a store get it."""
    store_secrets: StoreSecrets | None = None
    """Secrets by purpose in place of that one."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node asks the image registry."""
    image_pull_secrets: tuple[ObjectName, ...] = ()
    """Secrets that the image registry asks for."""
    metrics_port: Annotated[int, Field(strict=True, ge=1024, le=65535)] = 8641
    """Port on which a training pod answers Prometheus."""
    security: Security = Security()
    """Whom the steps run as."""
    environment: Environment = Environment()
    """What all steps are told."""
    defaults: StepSettings = StepSettings()
    """What every step's pod asks for."""
    steps: dict[Step, StepSettings] = Field(default_factory=dict)
    """What one step's pod asks for in place of that."""

    def settings_of(self, step: Step) -> StepSettings:
        """Return what a step's pod is given: its own settings over those of all steps."""
        return self.defaults.overridden(self.steps.get(step, StepSettings()))

    def tracking_secret_of(self, step: Step) -> str | None:
        """Return the Secret with MLflow's address, for a step that uses MLflow."""
        return self.tracking_secret if step in TRACKING_STEPS else None

    def store_secret_of(self, step: Step) -> str | None:
        """Return the Secret with the keys of the object store that a step uses; None where it uses none."""
        purpose = PURPOSE_OF[step]
        # The remote of a data set and MLflow's artifacts may be in a bucket that the profile does not name.
        used = {"data", "models", *self.environment.store_purposes()}
        if purpose is None or purpose not in used:
            return None
        return getattr(self.store_secrets, purpose) if self.store_secrets else self.store_secret


class Profile(Value):
    """A whole profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)
    """What the profile is called."""
    about: str
    """What it is for."""
    root: Folder | None = None
    """The shared root as steps see it; /spineline on a cluster, this machine's own elsewhere."""
    fold_groups: FoldGroups = "together"
    """Tasks that train: one a fold, one for all folds, or so many folds a task."""
    images: dict[Target, ImageReference] = Field(default_factory=dict)
    """Images in place of the default ones, by target, with a tag or a digest."""
    kubeflow: Endpoint = Endpoint()
    """Where Kubeflow Pipelines answers."""
    kubernetes: Kubernetes | None = None
    """Settings that only a cluster has."""

    @model_validator(mode="after")
    def _check_conflicts(self) -> Self:
        for reason, expected in _faults(self):
            raise FieldConflictError(reason, expected=expected)
        return self

    @property
    def shared_root(self) -> str:
        """The root as steps see it on a cluster."""
        return self.root or DEFAULT_ROOT

    def groups(self, folds: Sequence[int]) -> list[list[int]]:
        """Deal folds to tasks."""
        size = {"each": 1, "together": len(folds)}.get(str(self.fold_groups)) or int(self.fold_groups)
        return [list(folds[start : start + size]) for start in range(0, len(folds), size)]

    def image(self, reference: str) -> str:
        """Return what is used in place of a default image: the profile's own of that target, or the image itself."""
        replaced = {image(target): own for target, own in self.images.items()}
        return replaced.get(reference, reference)


def load_profile(name: str) -> Profile:
    """Return a profile by its name, or from a path that ends in .yaml; an unknown one lists those that exist."""
    return Profile.named(name, package="pipelines.profiles")


def _faults(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield what doesn't fit together, and what was expected; each value alone is sound."""
    if profile.kubeflow.host and profile.kubeflow.port_forward:
        yield f"kubeflow.port_forward is {profile.kubeflow.port_forward!r} beside a host", "one of the two"
    cluster, root = profile.kubernetes, profile.shared_root
    if cluster is None:
        return
    for taken in root_faults(root):
        yield f"root is {root!r}", f"a folder of its own such as {DEFAULT_ROOT}: a pod has its own {taken}"
    yield from _faults_of_environment(cluster, root=root)
    yield from _faults_of_store_secrets(cluster)
    if cluster.cache_claim == cluster.volume_claim:
        message = f"kubernetes.cache_claim is {cluster.cache_claim!r}, the root's own"
        yield message, "another claim, or none: the cache lies in the root then"
    for step in STEPS:
        yield from _faults_of(cluster, step, root=root)


def _faults_of_environment(cluster: Kubernetes, *, root: str) -> Iterator[tuple[str, str]]:
    fields = {f"SPINELINE_{name}".upper() for name in Environment.model_fields}
    for variable in cluster.environment.variables:
        if variable in fields or variable in _OURS:
            yield f"kubernetes.environment.variables.{variable} is set by the profile itself", "another variable"
    for field in ("ledger", "model_store"):
        place = getattr(cluster.environment, field)
        if place and place.startswith("/") and (place == root or not is_below(place, root)):
            message = f"kubernetes.environment.{field} is {place!r}"
            yield message, f"a folder below the root {root}, or s3://…: no other outlives the pod"


def _faults_of_store_secrets(cluster: Kubernetes) -> Iterator[tuple[str, str]]:
    if cluster.store_secrets is None:
        return
    if cluster.store_secret:
        yield f"kubernetes.store_secret is {cluster.store_secret!r} beside store_secrets", "one of the two"
    for purpose in sorted(cluster.environment.store_purposes()):
        if getattr(cluster.store_secrets, purpose) is None:
            steps = ", ".join(step for step in STEPS if PURPOSE_OF[step] == purpose)
            message = f"kubernetes.store_secrets has no {purpose}"
            yield message, f"a Secret: with the stores of kubernetes.environment it is needed by {steps}"


def _is_on_s3(place: str | None) -> bool:
    return bool(place and place.startswith("s3://"))


def _faults_of(cluster: Kubernetes, step: Step, *, root: str) -> Iterator[tuple[str, str]]:
    settings, own = cluster.settings_of(step), cluster.steps.get(step, StepSettings()).model_fields_set
    for field, value, expected in settings.faults():
        place = f"kubernetes.steps.{step}.{field}" if field in own else f"kubernetes.defaults.{field} (of {step})"
        yield f"{place} is {value!r}", expected
    for secret in settings.secrets:
        # kfp names a pod's volumes after what they show, and the volumes of a pod need different names.
        if secret.folder and secret.name in (cluster.volume_claim, cluster.cache_claim):
            yield f"a secret of {step} with a folder is named {secret.name!r}", "another name than that of a claim"
    folders = [secret.folder for secret in settings.secrets if secret.folder]
    for folder, hidden in secret_faults(folders, root=root):
        yield f"the folder of a secret of {step} is {folder!r}", f"another folder: it would hide {hidden}"
