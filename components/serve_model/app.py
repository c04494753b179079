"""The HTTP face: routes, headers, and one handler that turns an error into its status and one line."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from components.serve_model.engine import Engine, LiveModel
from components.serve_model.errors import BusyError, NoModelError, ServeError, StorageError
from components.serve_model.limits import Limits
from components.serve_model.segmentation import Answer, segmentation
from components.serve_model.status import model_status
from components.serve_model.telemetry import Telemetry
from components.serve_model.uploads import receive
from components.serve_model.vertebrae import DISCLAIMER
from components.serve_model.watcher import Watcher
from spine.storage import strict_json

_LEFT_BEHIND_S = 24 * 3600


class Service:
    """Everything that the routes share: engine, watcher, metrics, and the one thread that predicts."""

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


def create_app(service: Service) -> FastAPI:
    """Build the app around a service, which lives as long as the app runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await asyncio.to_thread(service.stop)

    app = FastAPI(title="Spineline", description=DISCLAIMER, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_segmentations(app, service)
    _add_status(app, service)
    return app


def _add_segmentations(app: FastAPI, service: Service) -> None:
    @app.post("/v1/segmentations", response_class=Response)
    async def segment(request: Request) -> Response:
        model, status = service.engine.live, 500
        try:
            if model is None:
                raise NoModelError
            answer = await service.segmented(request, model)
            status = 200
        except ServeError as error:
            status = error.status
            raise
        finally:
            service.telemetry.answered(status=status, version=model.version if model else None)
        headers = {
            "X-Spineline-Version": str(model.version),
            "X-Spineline-Model": model.digest,
            "X-Spineline-Disclaimer": DISCLAIMER,
        }
        return Response(answer.content, media_type=answer.media_type, headers=headers)


def _add_status(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", response_class=Response)
    async def model() -> Response:
        status = model_status(engine=service.engine, watcher=service.watcher)
        return _json(status.model_dump(mode="json"), status=503 if status.version is None else 200)

    @app.get("/healthz", response_class=Response)
    async def healthz() -> Response:
        return _json({"status": "alive", "pid": os.getpid()})

    @app.get("/readyz", response_class=Response)
    async def readyz() -> Response:
        live = service.engine.live
        if live is None:
            raise NoModelError
        return _json({"status": "ready", "version": live.version})

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(service.telemetry.text(), media_type=service.telemetry.content_type)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServeError)
    async def refused(_: Request, error: ServeError) -> Response:
        pause = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
        return _json({"error": str(error)}, status=error.status, headers=pause)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return _json(
            {"error": f"{request.method} {request.url.path}: {str(error.detail).lower()}"}, status=error.status_code
        )

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return _json({"error": "the server failed on this request; its log has the reason"}, status=500)


def _json(content: dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(strict_json(content), status_code=status, media_type="application/json", headers=headers)
