"""What one step's pod is given on a cluster, and whether its parts fit one another."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.kubernetes_values import (
    Cpu,
    Folder,
    Hours,
    LabelKey,
    LabelValue,
    ObjectName,
    ResourceName,
    Retries,
    SecretKey,
    Size,
    VariableName,
    VolumeName,
    bytes_of,
    cores_of,
)
from spine.values import Value

Step = Literal[
    "pull_dataset",
    "plan_training",
    "train_folds",
    "evaluate_folds",
    "gate_candidate",
    "register_candidate",
    "promote_model",
]
STEPS: tuple[Step, ...] = get_args(Step)


class Toleration(Value):
    """A taint that a step's pod may be put beside."""

    key: LabelKey | None = None
    """The taint's key; every taint where not given, with `Exists`."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """`Equal` compares the value, too."""
    value: LabelValue | None = None
    """The taint's value, with `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every effect where not given."""
    seconds: Annotated[int, Field(strict=True, ge=0)] | None = None
    """How long the pod stays once the taint is there; with `NoExecute`."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.operator == "Equal") != (self.value is not None):
            raise PydanticCustomError("toleration", "should have a value with Equal, and none with Exists")
        if self.operator == "Equal" and self.key is None:
            raise PydanticCustomError("toleration", "should have a key with Equal")
        if self.seconds is not None and self.effect != "NoExecute":
            raise PydanticCustomError("toleration", "should have the effect NoExecute with seconds")
        return self


class SecretUse(Value):
    """A Secret of the run's namespace that a step is given, by reference only."""

    name: VolumeName
    """The Secret's name."""
    variables: dict[VariableName, SecretKey] = Field(default_factory=dict)
    """Variables of the environment, each with the key that it is taken from."""
    folder: Folder | None = None
    """Where each key is a file."""

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        if not self.variables and self.folder is None:
            raise PydanticCustomError("secret", "should have variables or a folder")
        return self


class StepSettings(Value):
    """What one step's pod asks for; a step's own settings replace those of all steps, field by field."""

    cpu: Cpu = "2"
    """Cores that are kept for the step; its threads follow."""
    cpu_limit: Cpu | None = None
    """Cores at the most; none unless the namespace's quota asks for it."""
    memory: Size = "8Gi"
    """Memory that is kept for the step, and its limit."""
    shared_memory: Size | None = None
    """Size of /dev/shm, which counts as memory; needed wherever there is a GPU."""
    scratch: Size = "10Gi"
    """Size at the most of /tmp, on the node's disk."""
    gpus: Annotated[int, Field(strict=True, ge=0, le=16)] = 0
    """GPUs of the pod; `train_folds` deals them to the folds of its task."""
    gpu_type: ResourceName = "nvidia.com/gpu"
    """The resource that they are asked for by."""
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels of the nodes that may be used, such as the product of the GPU."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints of nodes that may be used all the same."""
    queue: ObjectName | None = None
    """Kueue's LocalQueue that the pod waits in."""
    priority_class: ObjectName | None = None
    """Kueue's WorkloadPriorityClass; with a queue."""
    timeout_hours: Hours = 24
    """Longest time of one attempt, from its start on a node."""
    retries: Retries = 2
    """Attempts after the first; each goes on where the last one was."""
    secrets: tuple[SecretUse, ...] = ()
    """Secrets beside those of MLflow and the stores."""

    def overridden(self, own: "StepSettings") -> "StepSettings":
        """Return these settings with every field that ``own`` sets in place of this one's."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def faults(self) -> Iterator[tuple[str, object, str]]:
        """Yield each field that doesn't fit the others: its name, its value and what was expected."""
        if self.cpu_limit and cores_of(self.cpu_limit) < cores_of(self.cpu):
            yield "cpu_limit", self.cpu_limit, f"at least the {self.cpu} cores of cpu"
        if self.shared_memory and bytes_of(self.shared_memory) >= bytes_of(self.memory):
            yield "shared_memory", self.shared_memory, f"less than the memory of {self.memory}, which it counts as"
        if self.priority_class and not self.queue:
            yield "priority_class", self.priority_class, "a queue beside it: the priority is that of Kueue's queues"
        names = [secret.name for secret in self.secrets]
        if len(set(names)) < len(names):
            yield "secrets", ", ".join(names), "each Secret once"
