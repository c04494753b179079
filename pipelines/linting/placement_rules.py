"""Rules on how a step's pod is scheduled, bounded in time, and tried again."""

from pipelines.linting.compiled import CompiledPipeline, Pod
from pipelines.linting.rule import Faults, Rule

_LONGEST_WAIT_S = 24 * 3600
_ASKED = ("resourceCpuRequest", "resourceMemoryRequest", "resourceMemoryLimit")


def _no_resources(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        resources = pod.container.get("resources", {})
        if missing := [name.removeprefix("resource") for name in _ASKED if name not in resources]:
            yield pod.name, f"asks for no {', '.join(missing)}"


def _no_timeout(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        if not _timeout_s(pod):
            yield pod.name, "has no timeout"


def _no_retry(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for task in pod.tasks:
            if not task.spec.get("retryPolicy", {}).get("maxRetryCount"):
                yield task.name, "is not tried again"


def _short_windows(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for task in pod.tasks:
            policy = task.spec.get("retryPolicy", {})
            attempts = int(policy.get("maxRetryCount", 0)) + 1
            window_s = _seconds(policy.get("backoffMaxDuration", "0s"))
            if attempts > 1 and window_s < attempts * _timeout_s(pod):
                yield task.name, f"is ended {window_s} s after its first attempt began"


def _long_waits(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for task in pod.tasks:
            policy = task.spec.get("retryPolicy", {})
            retries, factor = int(policy.get("maxRetryCount", 0)), float(policy.get("backoffFactor", 1))
            wait_s = _seconds(policy.get("backoffDuration", "0s")) * factor ** max(0, retries - 1)
            if wait_s > _LONGEST_WAIT_S:
                yield task.name, f"waits {wait_s / 86400:.0f} days before its last attempt"


def _timeout_s(pod: Pod) -> int:
    return int(pod.platform.get("activeDeadlineSeconds", 0))


def _seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


PLACEMENT_RULES = (
    Rule(
        "missing-resources",
        "a pod without them is put anywhere and is the first to be evicted",
        "cpu and memory of this step in the profile",
        _no_resources,
    ),
    Rule(
        "missing-timeout",
        "a step that hangs holds its GPU for ever",
        "timeout_hours in the profile",
        _no_timeout,
    ),
    Rule(
        "missing-retry",
        "a node that goes away ends the run, though every step goes on where it was",
        "retries in the profile",
        _no_retry,
    ),
    Rule(
        "short-retry-window",
        "Argo ends even a running attempt when kfp's backoff_max_duration, an hour by default, is over",
        "backoff_max_duration of at least all attempts at their full timeout",
        _short_windows,
    ),
    Rule(
        "endless-backoff",
        "a wait that doubles grows beyond the life of the cluster",
        "backoff_factor=1, or few retries",
        _long_waits,
    ),
)
