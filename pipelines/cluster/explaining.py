"""Why steps wait or failed: what Kubeflow says of them, and what it leaves to their pods to say."""

from collections.abc import Iterable
from dataclasses import replace

from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.pods import PodState, last_words
from pipelines.cluster.steps import StepState


def explained(steps: Iterable[StepState], pods: Iterable[PodState], cluster: Cluster) -> list[StepState]:
    """Return steps with what their pods say where they say nothing; a pod that is stuck is there without a step too."""
    found = list(steps)
    for pod in pods:
        if words := pod.why_stuck:
            place = _unexplained(found, pod, states=("PENDING", "RUNNING"))
            if place is not None:
                found[place] = replace(found[place], message=words)
            elif not any(_is_of(pod, one) for one in found):
                found.append(StepState(pod.step, pod.number, "PENDING", words))
        elif pod.phase == "Failed" and (place := _unexplained(found, pod, states=("FAILED",))) is not None:
            found[place] = replace(found[place], message=last_words(cluster, pod))
    return found


def _unexplained(steps: list[StepState], pod: PodState, *, states: tuple[str, ...]) -> int | None:
    """Return the place of the first step of a pod that is in one of ``states`` and says nothing."""
    matching = (n for n, one in enumerate(steps) if one.state in states and not one.message and _is_of(pod, one))
    return next(matching, None)


def _is_of(pod: PodState, one: StepState) -> bool:
    return one.step == pod.step and one.number in (None, pod.number)
