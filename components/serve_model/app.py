"""The HTTP face: routes, headers, and one handler that turns an error into its status and one line."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from components.serve_model.errors import NoModelError, ServeError
from components.serve_model.service import Service
from components.serve_model.status import model_status
from components.serve_model.vertebrae import DISCLAIMER
from spine.storage import strict_json


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
