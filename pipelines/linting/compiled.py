"""A compiled pipeline as the rules look at it: tasks with where their inputs come from, and the pods they run in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Spec = dict[str, Any]
_ROOT = "root"


@dataclass(frozen=True)
class Task:
    """One node of a graph."""

    name: str
    graph: str
    """Name of the component that it is a part of, or root."""
    spec: Spec

    @property
    def component(self) -> str:
        """Name of what it runs."""
        return str(self.spec.get("componentRef", {}).get("name", ""))

    @property
    def condition(self) -> str:
        """What must hold for it to run, in CEL; "" where it always does."""
        return str(self.spec.get("triggerPolicy", {}).get("condition", ""))

    @property
    def is_loop(self) -> bool:
        """Whether it runs once for each of several items."""
        return "parameterIterator" in self.spec or "artifactIterator" in self.spec

    @property
    def parameters(self) -> dict[str, Spec]:
        """Where its parameters come from, by their names."""
        return dict(self.spec.get("inputs", {}).get("parameters", {}))


@dataclass(frozen=True)
class Output:
    """An output of a task."""

    task: Task
    key: str

    @property
    def is_named(self) -> bool:
        """Whether the component gives it a name of its own; a single return value has kfp's."""
        return self.key != "Output"


@dataclass(frozen=True)
class Pod:
    """What one executor's container is, and what Kubernetes is asked for around it."""

    name: str
    container: Spec
    platform: Spec
    tasks: tuple[Task, ...]

    @property
    def command(self) -> list[str]:
        """The command and its arguments."""
        return [str(part) for part in (*self.container.get("command", ()), *self.container.get("args", ()))]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that are set in plain text."""
        return {str(pair["name"]): str(pair.get("value", "")) for pair in self.container.get("env", ())}

    def mounts(self, kind: Literal["pvcMount", "emptyDirMounts"]) -> dict[str, Spec]:
        """Return the mounts of a kind by their paths."""
        return {str(mount["mountPath"]): mount for mount in self.platform.get(kind, ())}


@dataclass(frozen=True)
class CompiledPipeline:
    """The YAML documents that kfp's compiler wrote, taken apart."""

    components: dict[str, Spec]
    tasks: tuple[Task, ...]
    pods: tuple[Pod, ...]

    @classmethod
    def of(cls, documents: Sequence[Spec]) -> "CompiledPipeline":
        """Take compiled documents apart: the IR and, where there is one, the platform's part."""
        ir, *others = documents
        components = {_ROOT: ir["root"], **ir.get("components", {})}
        tasks = tuple(
            Task(name, graph, spec)
            for graph, component in components.items()
            for name, spec in component.get("dag", {}).get("tasks", {}).items()
        )
        platform = others[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if others else {}
        pods = tuple(
            Pod(
                name=label.removeprefix("exec-"),
                container=executor["container"],
                platform=platform.get(label, {}),
                tasks=tuple(task for task in tasks if components[task.component].get("executorLabel") == label),
            )
            for label, executor in ir["deploymentSpec"]["executors"].items()
            if "container" in executor
        )
        return cls(components, tasks, pods)

    def siblings(self, task: Task) -> tuple[Task, ...]:
        """Return the tasks of the same graph."""
        return tuple(other for other in self.tasks if other.graph == task.graph)

    def source(self, task: Task, name: str) -> Output | None:
        """Follow a parameter to the output that it comes from; None for a constant or the pipeline's own parameter."""
        given = task.parameters.get(name, {})
        if produced := given.get("taskOutputParameter"):
            producer = next(other for other in self.siblings(task) if other.name == produced["producerTask"])
            return Output(producer, str(produced["outputParameterKey"]))
        outer = given.get("componentInputParameter")
        around = next((other for other in self.tasks if other.component == task.graph), None)
        return self.source(around, outer) if outer and around else None
