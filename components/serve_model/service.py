"""What the routes share: engine, watcher, metrics, room on disk and in memory, and the threads that predict."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from components.serve_model.admission import Admission
from components.serve_model.disk import Desk, Disk
from components.serve_model.engine import Engine, LiveModel
from components.serve_model.errors import BusyError, CancelledScanError, NoModelError, ServeError
from components.serve_model.job_store import Jobs
from components.serve_model.jobs import cancel
from components.serve_model.limits import Limits
from components.serve_model.scan_progress import ScanProgress
from components.serve_model.scans import read_header, require_servable
from components.serve_model.segmentation import Outcome, memory_bytes, segmentation
from components.serve_model.telemetry import Telemetry
from components.serve_model.watcher import Watcher
from spine.workers import free_memory

_FREE_SHARE = 0.9
"""Of the memory that is free: estimates are no measurements."""


class Service:
    """The server's parts, started and stopped together."""

    def __init__(
        self, *, root: Path, limits: Limits, threads: int, poll_s: float = 0.3, retry_pause_s: float = 2.0
    ) -> None:
        self.root, self.limits = root, limits
        self.telemetry = Telemetry()
        self.engine = Engine(root=root, threads=threads)
        self.watcher = Watcher(
            root=root, engine=self.engine, telemetry=self.telemetry, poll_s=poll_s, retry_pause_s=retry_pause_s
        )
        self.disk = Disk(root / "serving" / "tmp", limit_bytes=limits.disk_bytes)
        self.jobs = Jobs(new_folder=lambda: self.disk.desk().folder, limits=limits)
        self._admission = Admission(slots=limits.workers, budget=partial(_budget, limits.memory_bytes))
        self._workers = ThreadPoolExecutor(max_workers=limits.workers, thread_name_prefix="segmentation")
        self._under_way = 0
        self.telemetry.queued.set_function(lambda: self._admission.waiting)

    def start(self) -> None:
        """Begin to follow the ledger."""
        self.disk.open()
        self.watcher.start()

    async def stop(self) -> None:
        """Call jobs off and end the threads; other requests are over by now."""
        await self.jobs.stop()
        await asyncio.to_thread(self._stop_threads)

    def _stop_threads(self) -> None:
        self.watcher.stop()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self.disk.close()

    async def answered(self, answer: Callable[[LiveModel], Awaitable[Response]]) -> Response:
        """Answer a request with the model that is live now, from its beginning to its end, and count it.

        Raises NoModelError where there is none, and what ``answer`` raises.
        """
        model, status = self.engine.live, 500
        try:
            if model is None:
                raise NoModelError
            response = await answer(model)
            status = response.status_code
        except ServeError as error:
            status = error.status
            raise
        finally:
            self.telemetry.answered(status=status, version=model.version if model else None)
        return response

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[Desk]:
        """Hold a place among the scans under way and a desk for it; raises BusyError, StorageError."""
        if self._under_way >= self.limits.waiting:
            pause_s = self._admission.retry_after_s(ahead=self._under_way)
            raise BusyError(waiting=self._under_way, retry_after_s=pause_s)
        self._count(1)
        try:
            desk = self.disk.desk()
            try:
                yield desk
            finally:
                await asyncio.to_thread(desk.clear)
        finally:
            self._count(-1)

    async def segmented(self, upload: Path, *, model: LiveModel, desk: Desk, progress: ScanProgress) -> Outcome:
        """Segment an uploaded scan with ``model`` when there is room for it; raises ServeError."""
        header = await asyncio.to_thread(read_header, upload, max_voxels=self.limits.voxels)
        require_servable(header.grid, spacing_mm=model.spacing_mm, max_voxels=self.limits.voxels)
        async with AsyncExitStack() as place:
            with self.telemetry.stage("wait"):
                await place.enter_async_context(self._admission.place(memory_bytes(header, model=model)))
            work = partial(
                segmentation,
                model=model,
                folder=desk.folder,
                upload=upload,
                header=header,
                telemetry=self.telemetry,
                progress=progress,
            )
            return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    async def segmented_while_connected(
        self, request: Request, upload: Path, *, model: LiveModel, desk: Desk
    ) -> Outcome:
        """Segment a scan whose body was read whole, until its client goes away; raises ServeError."""
        progress = ScanProgress()
        work = asyncio.create_task(self.segmented(upload, model=model, desk=desk, progress=progress))
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                cancel(work, progress)
            return await work
        except asyncio.CancelledError as error:
            if not work.cancelled():
                cancel(work, progress)
                raise
            raise CancelledScanError from error
        finally:
            gone.cancel()

    def _count(self, change: int) -> None:
        self._under_way += change
        self.telemetry.waiting.set(self._under_way)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _budget(memory_bytes: int | None) -> int:
    """Return the bytes of memory that may be had now for the work on scans."""
    return int(free_memory() * _FREE_SHARE) if memory_bytes is None else memory_bytes
