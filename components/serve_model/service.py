"""What the routes share: engine, watcher, metrics, a folder for uploads, and the one thread that predicts."""

import asyncio
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from starlette.requests import Request

from components.serve_model.engine import Engine, LiveModel
from components.serve_model.errors import BusyError, StorageError
from components.serve_model.limits import Limits
from components.serve_model.segmentation import Answer, segmentation
from components.serve_model.telemetry import Telemetry
from components.serve_model.uploads import receive
from components.serve_model.watcher import Watcher

_LEFT_BEHIND_S = 24 * 3600


class Service:
    """The server's parts, started and stopped together."""

    def __init__(
        self, *, root: Path, limits: Limits, threads: int, poll_s: float = 0.3, retry_pause_s: float = 2.0
    ) -> None:
        self.limits = limits
        self.telemetry = Telemetry()
        self.engine = Engine(root=root, threads=threads)
        self.watcher = Watcher(
            root=root, engine=self.engine, telemetry=self.telemetry, poll_s=poll_s, retry_pause_s=retry_pause_s
        )
        self._tmp = root / "serving" / "tmp"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segmentation")
        self._under_way = 0

    def start(self) -> None:
        """Begin to follow the ledger."""
        self._tmp.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self.watcher.start()

    def stop(self) -> None:
        """End the threads; requests under way are over by now."""
        self.watcher.stop()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _sweep(self) -> None:
        """Remove what a killed server left; by age, since another server may use the same root."""
        for folder in self._tmp.iterdir():
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(folder, ignore_errors=True)

    async def segmented(self, request: Request, model: LiveModel) -> Answer:
        """Receive a scan and answer it with ``model``; the request's folder is removed whatever happens."""
        if self._under_way >= self.limits.waiting:
            raise BusyError(waiting=self._under_way)
        self._under_way += 1
        self.telemetry.waiting.set(self._under_way)
        try:
            return await self._answered(request, model)
        finally:
            self._under_way -= 1
            self.telemetry.waiting.set(self._under_way)

    async def _answered(self, request: Request, model: LiveModel) -> Answer:
        try:
            folder = Path(tempfile.mkdtemp(dir=self._tmp))
        except OSError as error:
            raise StorageError from error
        try:
            upload = folder / "upload"
            await receive(request, upload, limit_bytes=self.limits.upload_bytes)
            work = partial(
                segmentation,
                model=model,
                folder=folder,
                upload=upload,
                as_json="application/json" in request.headers.get("accept", ""),
                limits=self.limits,
                telemetry=self.telemetry,
            )
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
