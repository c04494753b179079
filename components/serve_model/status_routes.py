"""The routes that say how the server is: its model, its health, its metrics, and the document of all routes."""

import os
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from components.serve_model.access import Caller, Guard
from components.serve_model.openapi import ERRORS, RETRY_AFTER, ErrorAnswer, document_of, errors
from components.serve_model.responses import json_answer
from components.serve_model.service import Service
from components.serve_model.status import ModelStatus, model_status
from spine.values import Value


class Health(Value):
    """The answer of ``GET /healthz``."""

    status: str
    pid: int


class Readiness(Value):
    """The answer of ``GET /readyz``."""

    status: str
    version: int


def status_routes(service: Service, guard: Guard) -> APIRouter:
    """Return the routes of the server's state; health, readiness and metrics are open to all."""
    router = APIRouter(tags=["state"])
    _add_model(router, service, guard)
    _add_probes(router, service)
    _add_document(router, guard)
    return router


def _add_model(router: APIRouter, service: Service, guard: Guard) -> None:
    @router.get(
        "/v1/model",
        summary="See which version answers",
        response_model=None,
        responses={
            200: {"model": ModelStatus, "description": "The version that answers."},
            503: {"model": ModelStatus, "description": "No version is loaded."},
            **errors(),
        },
    )
    async def model(_: Annotated[Caller, Depends(guard.needs("reader"))]) -> Response:
        """Say which version answers, and what keeps the server from the one that the ledger names."""
        status = model_status(engine=service.engine, watcher=service.watcher)
        return json_answer(status, status=503 if status.version is None else 200)


def _add_probes(router: APIRouter, service: Service) -> None:
    unready: dict[int | str, dict[str, Any]] = {
        503: {"model": ErrorAnswer, "description": ERRORS[503], "headers": RETRY_AFTER}
    }

    @router.get("/healthz", summary="Ask whether the server lives", response_model=Health)
    async def healthz() -> Response:
        """Answer as long as the process does."""
        return json_answer(Health(status="alive", pid=os.getpid()))

    async def readyz() -> Response:
        """Answer 200 once a version is loaded."""
        return json_answer(Readiness(status="ready", version=service.live_model().version))

    router.get("/readyz", summary="Ask whether a version is loaded", response_model=Readiness, responses=unready)(
        readyz
    )

    @router.get(
        "/metrics",
        summary="Read the metrics",
        response_class=Response,
        responses={200: {"description": "Prometheus's text format.", "content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Return all metrics."""
        return Response(service.telemetry.text(), media_type=service.telemetry.content_type)


def _add_document(router: APIRouter, guard: Guard) -> None:
    @router.get("/openapi.json", include_in_schema=False, response_class=Response)
    async def openapi(request: Request, _: Annotated[Caller, Depends(guard.needs("reader"))]) -> Response:
        return json_answer(document_of(request.app))
