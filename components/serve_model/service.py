"""What the routes share: engine, watcher, metrics, room on disk and in memory, and the threads that predict."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from components.serve_model.access import ANONYMOUS, Caller
from components.serve_model.admission import Admission
from components.serve_model.disk import Desk, Disk
from components.serve_model.engine import Engine, LiveModel
from components.serve_model.errors import BusyError, CancelledScanError, NoModelError, ServeError
from components.serve_model.job_store import Jobs
from components.serve_model.jobs import cancel
from components.serve_model.limits import Limits
from components.serve_model.scan_progress import ScanProgress
from components.serve_model.scans import ScanHeader, read_header, require_servable
from components.serve_model.segmentation import Outcome, memory_bytes, segmentation
from components.serve_model.telemetry import Telemetry
from components.serve_model.upload_quota import Sender, Senders
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
        half_of_disk = max(limits.disk_bytes // 2, limits.upload_bytes)
        self._senders = Senders(most_uploads=limits.waiting, most_bytes=half_of_disk)
        self.telemetry.queued.set_function(lambda: self._admission.waiting)
        self.telemetry.watch_ledger(lambda: self.watcher.ledger_problem)

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

    def live_model(self) -> LiveModel:
        """Return the model that is live now; raises NoModelError."""
        model = self.engine.live
        if model is None:
            raise NoModelError(wanted=self.watcher.wanted, has_failed=self.watcher.last_failure is not None)
        return model

    async def answered(self, answer: Callable[[LiveModel], Awaitable[Response]]) -> Response:
        """Answer a request with the model that is live now, from its beginning to its end, and count it.

        Raises NoModelError where there is none, and what ``answer`` raises.
        """
        model: LiveModel | None = None
        status = 500
        try:
            model = self.live_model()
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
        """Hold a desk for one request; raises StorageError."""
        desk = self.disk.desk()
        try:
            yield desk
        finally:
            await asyncio.to_thread(desk.clear)

    @contextmanager
    def sending(self, request: Request, caller: Caller) -> Iterator[Sender]:
        """Hold a caller's upload until it is whole; raises BusyError where it would come in vain, or as Senders do.

        It takes no place among the scans under way: who sends slowly would keep others out.
        """
        self._require_room()
        is_known = caller != ANONYMOUS
        address = request.client.host if request.client else ""
        with self._senders.sending(f"token {caller.name}" if is_known else f"address {address}") as sender:
            yield sender

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among the scans under way for an upload that is whole; raises BusyError."""
        self._require_room()
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    async def header(self, upload: Path, *, model: LiveModel) -> ScanHeader:
        """Return an upload's header; raises ServeError where it says that ``model`` can never segment the scan here."""
        header = await asyncio.to_thread(read_header, upload, max_voxels=self.limits.voxels)
        require_servable(header.grid, spacing_mm=model.spacing_mm, max_voxels=self.limits.voxels)
        self._admission.require_possible(memory_bytes(header, model=model))
        return header

    async def segmented(
        self, upload: Path, header: ScanHeader, *, model: LiveModel, desk: Desk, progress: ScanProgress
    ) -> Outcome:
        """Segment an uploaded scan with ``model`` when there is room for it; raises ServeError."""
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
        header, progress = await self.header(upload, model=model), ScanProgress()
        work = asyncio.create_task(self.segmented(upload, header, model=model, desk=desk, progress=progress))
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

    def _require_room(self) -> None:
        if self._under_way >= self.limits.waiting:
            pause_s = self._admission.retry_after_s(ahead=self._under_way)
            raise BusyError(waiting=self._under_way, retry_after_s=pause_s)

    def _count(self, change: int) -> None:
        self._under_way += change
        self.telemetry.waiting.set(self._under_way)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _budget(memory_bytes: int | None) -> int:
    """Return the bytes of memory that may be had now for the work on scans."""
    return int(free_memory() * _FREE_SHARE) if memory_bytes is None else memory_bytes
