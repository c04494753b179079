"""A segmentation that nobody waits for on the line: where it stands, and what it made."""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Literal

from components.serve_model.errors import JobNotDoneError
from components.serve_model.scan_progress import ScanProgress, Stage
from components.serve_model.segmentation import Outcome
from spine.values import Value

State = Literal["queued", "running", "done", "failed", "cancelling", "cancelled"]


def cancel(task: "asyncio.Task[Any]", progress: ScanProgress) -> None:
    """Call the work on a scan off: at once while it waits, else at its next batch of windows."""
    progress.cancel()
    if progress.stage == "waiting":
        task.cancel()


class Windows(Value):
    """Windows of the network over one scan."""

    done: int
    of: int


class JobStatus(Value):
    """The answer of ``GET /v1/segmentations/{job}``."""

    id: str
    state: State
    stage: Stage
    """What is done with the scan now, or was done last."""
    windows: Windows | None
    """How far the prediction is; null before its first windows."""
    version: int
    """The version that segments the scan: the one that was live when the job was made."""
    model_digest: str
    created_at: str
    """UTC, ISO 8601, as is the next one."""
    ended_at: str | None
    error: str | None
    """Why the job failed."""
    mask: str | None
    """Path of the mask once the job is done."""
    report: str | None
    """Path of the report once the job is done."""


class Job:
    """One scan's way through the server, seen from the event loop."""

    def __init__(self, *, owner: str, version: int, model_digest: str) -> None:
        self.id = secrets.token_urlsafe(16)
        self.owner, self.version, self.model_digest = owner, version, model_digest
        self.progress = ScanProgress()
        self.outcome: Outcome | None = None
        self.size_bytes = 0
        self.error: str | None = None
        self.is_cancelled = False
        self.ended: float | None = None
        """Monotonic time."""
        self.task: asyncio.Task[None] | None = None
        self._created_at = _now()
        self._ended_at: str | None = None

    @property
    def state(self) -> State:
        """Where the job stands."""
        if self.is_cancelled:
            return "cancelling" if self.ended is None else "cancelled"
        if self.ended is None:
            return "queued" if self.progress.stage == "waiting" else "running"
        return "done" if self.outcome is not None else "failed"

    def end(self) -> None:
        """Take note that nothing more happens with the job."""
        self.ended, self._ended_at = time.monotonic(), _now()

    def cancel(self) -> None:
        """Call the job off; a worker that has begun stops at its next batch of windows."""
        self.is_cancelled = True
        if self.task is not None:
            cancel(self.task, self.progress)

    def result(self) -> Outcome:
        """Return what the job made; raises JobNotDoneError where there is nothing."""
        if self.outcome is None:
            raise JobNotDoneError(self.state)
        return self.outcome

    def status(self, *, path: str) -> JobStatus:
        """Describe the job, which is found at ``path``."""
        windows, is_done = self.progress.windows, self.state == "done"
        return JobStatus(
            id=self.id,
            state=self.state,
            stage=self.progress.stage,
            windows=None if windows is None else Windows(done=windows[0], of=windows[1]),
            version=self.version,
            model_digest=self.model_digest,
            created_at=self._created_at,
            ended_at=self._ended_at,
            error=self.error,
            mask=f"{path}/mask" if is_done else None,
            report=f"{path}/report" if is_done else None,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
