"""Logs of a run's tasks: of the pod while it exists, else as Kubeflow Pipelines archived them."""

import base64
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pods import MAIN_CONTAINER, PodState
from spine.log_lines import readable
from spine.progress import ProgressEvent

TAIL_LINES = 200
_RAISED = re.compile(r"^(?:error|[\w.]*(?:Error|Exception|Interrupt)\w*): \S.*$")
_FROM_LAUNCHER = re.compile(r"^Error: (?:exit status|exit code|signal|failed to)\b")
"""What Argo's executor prints last, whatever the step's own error was."""
_SIGNAL = re.compile(r"(?:failed to execute component|executing command).*: signal: ([\w ]+)")
_LAUNCHER_FAULT = re.compile(r"^F\d{4} .*?\] failed to execute component: (?!exit status|signal:)(\S.*)$")
"""The launcher's own failure, such as an upload that the object store refused, after the step itself succeeded."""
_AWAY = re.compile(
    r"code = Unavailable|connection refused|connection reset|i/o timeout|no such host|deadline exceeded|EOF$",
    re.IGNORECASE,
)
"""What programs of Kubeflow Pipelines report while one of its services is unreachable."""
_REPORTED = re.compile(r"^\w+: (transient )?error: (.+)$")
"""The line that a step prints when it fails (``spine.steps``)."""
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?(?:e[+-]\d{2})?"
_PROGRESS = re.compile(rf"^(\w+): (.+?) ({_NUMBER})/({_NUMBER})(?: (.*))?$")
_DRIVER_FAULT = re.compile(r"^(?:F\d{4} .*\] |.*level=fatal.* msg=\"?)(.+?)\"?$")


@dataclass(frozen=True)
class LogEvidence:
    """What the end of a log says of a failure."""

    message: str = ""
    """The last line of the exception, or what the step reported."""
    is_transient: bool = False
    """Whether the step itself reports that another attempt can succeed."""
    signal: str = ""
    """Signal that ended the step's process, such as ``killed``."""


def pod_log(cluster: Cluster, pod: PodState, *, tail_lines: int | None = TAIL_LINES) -> list[str]:
    """Return the lines of a pod's main container as people read them; empty where they can't be read."""
    try:
        text = cluster.read(
            cluster.core.read_namespaced_pod_log,
            pod.name,
            cluster.namespace,
            container=MAIN_CONTAINER,
            **({"tail_lines": tail_lines} if tail_lines else {}),
            what="logs of pods",
        )
    except UnaskedError:
        return []
    return readable_lines(str(text or ""))


def readable_lines(text: str) -> list[str]:
    """Return the lines of a log; of JSON lines their message and traceback."""
    return [line for entry in text.splitlines() for line in readable(entry).splitlines()]


def decode_artifact(content: object) -> str | None:
    """Return the text in the answer of Kubeflow Pipelines' endpoint for artifacts; None where there is none."""
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True).decode(errors="replace")
    except ValueError:
        return None


def evidence_in(lines: Sequence[str]) -> LogEvidence:
    """Return what the end of a log says of a failure."""
    signal = next((found[1] for line in reversed(lines) if (found := _SIGNAL.search(line))), "")
    for line in reversed([line.strip() for line in lines]):
        if found := _LAUNCHER_FAULT.match(line):
            return LogEvidence(message=found[1], is_transient=bool(_AWAY.search(found[1])))
        if found := _REPORTED.match(line):
            return LogEvidence(message=found[2], is_transient=bool(found[1]), signal=signal)
        if _RAISED.match(line) and not _FROM_LAUNCHER.match(line):
            return LogEvidence(message=line.removeprefix("error: "), signal=signal)
    return LogEvidence(signal=signal)


def driver_fault_in(lines: Sequence[str]) -> LogEvidence:
    """Return the last error of a driver of Kubeflow Pipelines, which logs in another form than our steps."""
    for line in reversed([line.strip() for line in lines]):
        if (found := _DRIVER_FAULT.match(line)) and found[1]:
            return LogEvidence(message=found[1], is_transient=bool(_AWAY.search(found[1])))
    return evidence_in(lines)


def progress_in(lines: Sequence[str], *, step: str) -> Iterator[ProgressEvent]:
    """Yield the newest progress of each task of a step."""
    newest: dict[str, ProgressEvent] = {}
    for line in lines:
        if (found := _PROGRESS.match(line)) and found[1] == step:
            newest[found[2]] = ProgressEvent(
                step=step,
                task=found[2],
                done=float(found[3]),
                total=float(found[4]),
                note=found[5] or "",
                at=time.time(),
            )
    yield from newest.values()
