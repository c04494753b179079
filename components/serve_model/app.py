"""The HTTP face: every router under one roof, and one handler that turns an error into its status and one line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from components.serve_model.access import Guard
from components.serve_model.audit import AuditTrail, Write, request_headers
from components.serve_model.control_routes import control_routes
from components.serve_model.drain_body import Lingering
from components.serve_model.errors import ServeError
from components.serve_model.invocation_routes import invocation_routes
from components.serve_model.registry_service import Control
from components.serve_model.responses import json_answer
from components.serve_model.segmentation_routes import segmentation_routes
from components.serve_model.service import Service
from components.serve_model.status_routes import status_routes
from model_registry.lifecycle import Registry
from model_registry.segmentation_report import DISCLAIMER
from spine.settings import settings

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(service: Service, *, guard: Guard, audit: Write = lambda _: None) -> FastAPI:
    """Build the app around a service, which lives as long as the app runs.

    ``guard`` lets callers through, ``audit`` takes the audit log's line of each request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Spineline",
        version="1",
        description=f"Vertebra segmentation in CT, {DISCLAIMER}.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    _add_errors(app)
    _add_routers(app, service, guard)
    app.add_middleware(Lingering)
    app.add_middleware(AuditTrail, write=audit, count=service.telemetry.requested)
    service.telemetry.watch_tokens(guard.problem)
    return app


def _add_routers(app: FastAPI, service: Service, guard: Guard) -> None:
    app.include_router(segmentation_routes(service, guard))
    app.include_router(invocation_routes(service, guard))
    app.include_router(status_routes(service, guard))
    control = Control(
        root=service.root, open_registry=lambda: Registry.at(service.root, settings()), engine=service.engine
    )
    app.include_router(control_routes(control, guard=guard))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServeError)
    async def refused(_: Request, error: ServeError) -> Response:
        return json_answer({"error": str(error)}, status=error.status, headers=error.headers)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {str(error.detail).lower()}"
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        return json_answer({"error": message}, status=error.status_code, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return json_answer({"error": f"{field}: {str(first['msg']).lower()}"}, status=422)

    @app.exception_handler(Exception)
    async def failed(request: Request, _: Exception) -> Response:
        message = "the server failed on this request; its log has the reason"
        # It is made outside of the audit trail, which gives all other answers their headers.
        return json_answer({"error": message}, status=500, headers=request_headers(request.scope))


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes of a path; Starlette names those of the first one only."""
    routes = request.app.router.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
