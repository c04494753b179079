"""Deletion of a schedule, which takes the runs in progress into account: Kubernetes deletes their workflows with it."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.cluster import runs, schedules
from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError, NotAllowedError, NotSignedInError, NotThereError
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.lost_runs import RunLostError, lost_error
from pipelines.cluster.reconnection import Patience

POLL_S = 10.0
REPORT_S = 60.0
"""Interval of the lines that report what is waited for."""
SETTLE_S = 10.0
"""Time until Kubeflow lists a run that the schedule started just before it was paused."""
PATIENCE = Patience(lost_s=math.inf, odd_s=300.0)
_KEEP_WORKFLOWS = "ORPHAN"
"""Kubernetes' propagation policy that keeps what a deleted object owns; servers before 2.16 ignore it."""
WithRuns = Literal["refuse", "wait", "stop"]


class RunsInProgressError(ClusterError):
    """A schedule can't be deleted while its runs are in progress."""


@dataclass
class Deletion:
    """The deletion of one schedule."""

    connection: Connection
    recurring: Any
    cluster: Cluster | None
    """Where a run is recognised as lost; None where the Kubernetes API can't be used."""
    report: Callable[[str], None]
    command: Callable[[str, str], str]
    """Returns the ``spineline schedules`` command with an option for a schedule, by its name."""
    _lost: set[str] = field(default_factory=set)
    _stopped: set[str] = field(default_factory=set)

    def delete(self, with_runs: WithRuns) -> None:
        """Delete the schedule; its runs stay listed.

        With runs in progress: "refuse" raises RunsInProgressError, "wait" waits until they have ended and raises
        RunLostError for one that never will, "stop" stops them and waits. The schedule is paused during the wait, and
        resumed where it is interrupted.
        """
        if with_runs == "refuse":
            if in_progress := self._in_progress():
                raise RunsInProgressError(self._refusal(in_progress))
            self._delete()
            return
        with self._paused():
            time.sleep(SETTLE_S)
            self._wait(self._stop if with_runs == "stop" else self._require_workflow)
            self._delete()

    def _wait(self, look_after: Callable[[Any], bool]) -> None:
        """Wait until no run is left for which ``look_after`` returns that it will end."""
        reported_at = -math.inf
        while True:
            in_progress = self.connection.insist(self._in_progress, on_wait=self.report, patience=PATIENCE)
            ending = [run for run in in_progress if look_after(run)]
            if not ending:
                return
            if time.monotonic() - reported_at >= REPORT_S:
                reported_at = time.monotonic()
                self.report(f"waiting for {_listed(ending)} to end before the schedule is deleted")
            time.sleep(POLL_S)

    def _in_progress(self) -> list[Any]:
        return schedules.runs_in_progress(self.connection, self.recurring)

    def _require_workflow(self, run: Any) -> bool:
        """Return True: the run will end. Raises RunLostError for one that won't."""
        if error := lost_error(self.cluster, run):
            raise error
        return True

    def _stop(self, run: Any) -> bool:
        """Stop a run unless that was done; return whether it will end: a lost one is reported, and never will."""
        if run.run_id in self._lost:
            return False
        try:
            if run.run_id in self._stopped or run.state == runs.CANCELING:
                self._require_workflow(run)
            else:
                runs.stop(self.connection, run)
                self._stopped.add(run.run_id)
                self.report(f"run {run.run_id} is being stopped")
        except RunLostError as error:
            self._lost.add(run.run_id)
            self.report(f"{error}; it is not waited for")
            return False
        except (NotAllowedError, NotSignedInError):
            raise
        except ClusterError as error:
            # The next look finds whether it was stopped, or has ended, all the same.
            self.report(str(error))
        return True

    def _delete(self) -> None:
        def attempt() -> None:
            try:
                self.connection.ask(
                    self.connection.api.recurring_runs.recurring_run_service_delete_recurring_run,
                    recurring_run_id=self.recurring.recurring_run_id,
                    propagation_policy=_KEEP_WORKFLOWS,
                )
            except NotThereError:
                # An earlier attempt, whose answer was lost, or someone else deleted it.
                return

        self.connection.insist(attempt, on_wait=self.report)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Pause the schedule for the block; resume it where the block fails, unless it was paused before."""
        if schedules.is_paused(self.recurring):
            yield
            return
        is_done = False
        try:
            schedules.pause(self.connection, self.recurring)
            self.report(f"schedule {self._name} is paused: no further run begins")
            yield
            is_done = True
        finally:
            if not is_done:
                self._resume()

    def _resume(self) -> None:
        try:
            schedules.resume(self.connection, self.recurring)
        except (ClusterError, KeyboardInterrupt):
            resume = self.command("--resume", self.recurring.display_name)
            self.report(f"schedule {self._name} was not deleted and may still be paused; resume it with `{resume}`")
        else:
            self.report(f"schedule {self._name} was not deleted and is resumed")

    def _refusal(self, in_progress: list[Any]) -> str:
        delete = self.command("--delete", self.recurring.display_name)
        return (
            f"schedule {self._name} has {_listed(in_progress)} in progress, which end without a result when it is"
            f" deleted. Wait for them with `{delete} --wait`, or stop them with `{delete} --stop-runs`"
        )

    @property
    def _name(self) -> str:
        return f"'{self.recurring.display_name}'"


def _listed(found: list[Any]) -> str:
    """Return runs with their states, as messages name them."""
    noun = "run" if len(found) == 1 else "runs"
    return f"{noun} {', '.join(f'{run.run_id} ({run.state})' for run in found)}"
