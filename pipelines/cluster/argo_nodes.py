"""Names and ids of the nodes of an Argo workflow, from which a task's step, fold and attempt are read.

Kubeflow Pipelines nests a step as ``WORKFLOW.root.STEP.executor``; a loop adds ``iteration-iterations(3:3)`` per
iteration. From 2.17 on, Argo wraps every node in a retry node, so that each part of the path also ends in the number
of its attempt: ``WORKFLOW(0).root(0).STEP(0).executor(1)``.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_PART = re.compile(r"([^.(]*)((?:\([^)]*\))*)(?:\.|$)")
_ITERATION = re.compile(r"\((\d+):[^)]*\)")
_ATTEMPT = re.compile(r"\((\d+)\)$")
_DRIVER = "-driver"
_FNV_OFFSET, _FNV_PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF


@dataclass(frozen=True)
class NodeName:
    """The path of one node of a workflow."""

    text: str

    @property
    def parts(self) -> list[str]:
        """Names along the path without iterations and attempts, the workflow's first."""
        return [name for name, _ in _split(self.text)]

    @property
    def task(self) -> str:
        """Name of the pipeline's task that the node works for, without ``-driver``; "" for the workflow's own nodes."""
        named = [part for part in self.parts[1:] if not is_internal(part)]
        if named:
            return named[-1].removesuffix(_DRIVER)
        return ""

    @property
    def is_driver(self) -> bool:
        """Whether the node prepares a task or a loop instead of running it."""
        return self.parts[-1].endswith(_DRIVER)

    @property
    def iteration(self) -> int | None:
        """Iteration of the innermost loop around the node; None outside of loops."""
        found = [index for _, brackets in _split(self.text) for index in _ITERATION.findall(brackets)]
        return int(found[-1]) if found else None

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 0."""
        found = _ATTEMPT.search(self.text)
        return int(found[1]) if found else 0


def is_internal(part: str) -> bool:
    """Return whether a part of a path is added by Kubeflow Pipelines around the tasks of a pipeline."""
    return part in ("root", "root-driver", "executor") or part.startswith(("iteration", "for-loop", "condition"))


@lru_cache(maxsize=65536)
def node_id(workflow: str, name: str) -> str:
    """Return the id that Argo gives to the node ``name`` of ``workflow``: its name's 32-bit FNV-1a digest.

    Source: ``Workflow.NodeID`` in Argo Workflows' API types.
    """
    if name == workflow:
        return workflow
    digest = _FNV_OFFSET
    for byte in name.encode():
        digest = ((digest ^ byte) * _FNV_PRIME) & _MASK
    return f"{workflow}-{digest}"


def _split(text: str) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in _PART.finditer(text) if found[1] or found[2]]
