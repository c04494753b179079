"""The jobs of one server: started, found by who made them, forgotten after a while, gone when the server ends."""

import asyncio
import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from components.serve_model.access import Caller
from components.serve_model.errors import (
    CancelledScanError,
    ExpiredJobError,
    ServeError,
    StorageError,
    UnknownJobError,
)
from components.serve_model.jobs import Job
from components.serve_model.limits import Limits
from components.serve_model.segmentation import Outcome

_LOG = logging.getLogger(__name__)
_REMEMBERED_EXPIRED = 1000
_STOP_S = 30.0


class Jobs:
    """Lives on the event loop; results lie in folders of their own on the server's disk."""

    def __init__(self, *, new_folder: Callable[[], Path], limits: Limits) -> None:
        self._new_folder, self._limits = new_folder, limits
        self._jobs: dict[str, Job] = {}
        # Names of those that were forgotten, and whose they were.
        self._expired: OrderedDict[str, str] = OrderedDict()

    async def begin(self, job: Job, work: Coroutine[Any, Any, Outcome], *, held: AsyncExitStack) -> None:
        """Start a job's work; its outcome is kept, then what the scan ``held`` is closed, whatever happens."""
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._worked(job, work, held))
        # A task that is cancelled before its first step would never close what is held.
        await asyncio.sleep(0)

    def get(self, name: str, *, caller: Caller) -> Job:
        """Return a job; raises UnknownJobError for one that this caller may not see, ExpiredJobError."""
        self._expire()
        job = self._jobs.get(name)
        owner = self._expired.get(name) if job is None else job.owner
        if owner is None or not (owner == caller.name or caller.may("operator")):
            raise UnknownJobError
        if job is None:
            raise ExpiredJobError
        return job

    def forget(self, job: Job) -> None:
        """Remove a job that has ended, with its files."""
        self._jobs.pop(job.id, None)
        if job.outcome is not None:
            shutil.rmtree(job.outcome.mask.parent, ignore_errors=True)

    async def stop(self) -> None:
        """Call off what is under way, and wait for it a while."""
        under_way = [job for job in self._jobs.values() if job.ended is None]
        for job in under_way:
            job.cancel()
        tasks = [job.task for job in under_way if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_S)

    def _expire(self) -> None:
        """Forget the jobs whose time is over, then the oldest until the others may all be kept."""
        ended = sorted((job for job in self._jobs.values() if job.ended is not None), key=lambda job: job.ended or 0.0)
        size_bytes = sum(job.size_bytes for job in ended)
        for place, job in enumerate(ended):
            is_old = time.monotonic() - (job.ended or 0.0) >= self._limits.result_s
            if not (is_old or len(ended) - place > self._limits.results or size_bytes > self._limits.result_bytes):
                return
            size_bytes -= job.size_bytes
            self.forget(job)
            self._expired[job.id] = job.owner
            if len(self._expired) > _REMEMBERED_EXPIRED:
                self._expired.popitem(last=False)

    async def _worked(self, job: Job, work: Coroutine[Any, Any, Outcome], held: AsyncExitStack) -> None:
        try:
            async with held:
                made = await work
                await asyncio.to_thread(self._keep, job, made)
        except (CancelledScanError, asyncio.CancelledError):
            job.is_cancelled = True
        except ServeError as error:
            job.error = str(error)
        except OSError:
            _LOG.exception("the result of a job could not be kept")
            job.error = str(StorageError())
        except Exception:
            _LOG.exception("a job failed")
            job.error = "the server failed on this scan; its log has the reason"
        job.end()
        self._expire()
        asyncio.get_running_loop().call_later(self._limits.result_s, self._expire)

    def _keep(self, job: Job, made: Outcome) -> None:
        job.outcome = made.moved_to(self._new_folder())
        job.size_bytes = job.outcome.size_bytes
