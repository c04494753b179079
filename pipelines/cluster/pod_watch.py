"""The pods of a run that is followed: looked at now and then, and told of where something keeps one from starting."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pods import PodState, pods_of, progress_of
from spine.progress import ProgressEvent

PODS_POLL_S = 20.0
"""How often pods are looked at: one that can't start is told within a minute."""
STILL_S = 60.0
"""How long nothing may happen before it is said what is waited for."""


@dataclass
class PodWatch:
    """Whoever watches the pods of one run."""

    cluster: Cluster | None
    """None where pods can't be looked at."""
    run_id: str
    tell: Callable[[str], None]
    """Told each line once."""
    name: Callable[[str, int | None], str]
    """Returns how a step and its round are called."""
    pods: list[PodState] = field(default_factory=list)
    """What the last look found."""
    _looked_at: float = -math.inf
    _still_since: dict[str, float] = field(default_factory=dict)

    def look(self, *, has_begun: bool, is_last: bool) -> Iterator[ProgressEvent]:
        """Yield the progress that logs tell, unless the last look was a moment ago; tell what can't start and why.

        ``has_begun`` says that the run has steps: one without needs a pod first.
        """
        if self.cluster is None or (not is_last and time.monotonic() - self._looked_at < PODS_POLL_S):
            return
        self._looked_at = time.monotonic()
        try:
            self.pods = pods_of(self.cluster, self.run_id)
        except UnaskedError as error:
            self.tell(f"pods are not watched: {error}")
            return
        if not self.pods and not has_begun and not is_last and self._is_still("no pod"):
            self.tell("no pod yet: Kubeflow has not made the first; it may wait for its controller or for a quota")
        for pod in self.pods:
            self._tell_of(pod)
            # At the end the logs of those that are done are read as well: the gate's verdict stands in one.
            if pod.phase == "Running" or (is_last and pod.phase == "Succeeded"):
                yield from progress_of(self.cluster, pod)

    def _tell_of(self, pod: PodState) -> None:
        called = self.name(pod.step, pod.number)
        if pod.why_stuck:
            self.tell(f"{called} can't start: {pod.why_stuck}")
        elif pod.phase == "Pending" and pod.is_gated and self._is_still(pod.name):
            self.tell(f"{called} waits in Kueue's queue for its turn")

    def _is_still(self, what: str) -> bool:
        return time.monotonic() - self._still_since.setdefault(what, time.monotonic()) >= STILL_S
