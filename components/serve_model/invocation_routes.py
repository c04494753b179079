"""The routes of MLflow's scoring contract: ``POST /invocations`` and ``GET /ping``."""

import asyncio
import base64
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from components.serve_model.access import Caller, Guard
from components.serve_model.disk import Desk
from components.serve_model.engine import LiveModel
from components.serve_model.errors import (
    InvocationError,
    ServeError,
    StorageError,
    TooLargeError,
    UnsupportedMediaError,
)
from components.serve_model.invocations import COLUMN, require_few_values, scans_of
from components.serve_model.openapi import VERSION_HEADERS, errors
from components.serve_model.responses import json_answer, version_headers
from components.serve_model.segmentation import Outcome
from components.serve_model.service import Service
from components.serve_model.uploads import receive_plain
from spine.values import Value


class Prediction(Value):
    """One scan's answer."""

    mask: str = Field(description="A `.nii.gz` of uint8 labels on the scan's own grid, in base64.")
    report: str = Field(description="A SegmentationReport as JSON text.")


class Predictions(Value):
    """The answer of ``POST /invocations``, a row a scan."""

    predictions: tuple[Prediction, ...]


def invocation_routes(service: Service, guard: Guard) -> APIRouter:
    """Return MLflow's routes, for readers."""
    router = APIRouter(tags=["mlflow"])
    reader = Depends(guard.needs("reader"))
    # The JSON of one body is several times its size in memory: one at a time.
    parsing = asyncio.Semaphore(1)

    @router.post(
        "/invocations",
        summary="Segment scans as MLflow's scoring servers do",
        response_model=None,
        responses={
            200: {"model": Predictions, "description": "The masks, in order.", "headers": VERSION_HEADERS},
            **errors(400, 408, 413, 415, 422, 429, 500, 503, 507),
        },
        openapi_extra=_body(),
    )
    async def invocations(request: Request, caller: Annotated[Caller, reader]) -> Response:
        """Label the scans of a table with the one column `scan`; a path is refused. Needs the role reader."""

        async def answer(model: LiveModel) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise UnsupportedMediaError
            async with service.desk() as desk:
                with service.sending(request, caller) as sender:
                    limit_bytes = service.limits.invocation_bytes
                    body = await receive_plain(request, desk, sender=sender, limit_bytes=limit_bytes)
                with service.place():
                    async with parsing:
                        uploads = await asyncio.to_thread(_unpacked, body, desk, most=service.limits.invocation_scans)
                    predictions = await _predicted(service, request, uploads, model=model, desk=desk)
            headers = version_headers(version=model.version, model_digest=model.digest)
            return json_answer(predictions, headers=headers)

        return await service.answered(answer)

    @router.get(
        "/ping",
        summary="Ask whether a version is loaded",
        response_class=Response,
        responses={200: {"description": "A version is loaded.", "content": {"text/plain": {}}}, **errors(503)},
    )
    async def ping(_: Annotated[Caller, reader]) -> Response:
        """Answer 200 once a version is loaded. Needs the role reader."""
        service.live_model()
        return Response("\n", media_type="text/plain")

    return router


def _unpacked(body: Path, desk: Desk, *, most: int) -> list[Path]:
    require_few_values(body, most_scans=most)
    scans = scans_of(body.read_bytes())
    if len(scans) > most:
        raise TooLargeError(f"the body holds {len(scans)} scans", limit=f"{most}")
    uploads = []
    try:
        for row, scan in enumerate(scans):
            desk.take(len(scan))
            upload = desk.folder / f"upload-{row}"
            upload.write_bytes(scan)
            uploads.append(upload)
    except OSError as error:
        raise StorageError from error
    return uploads


async def _predicted(
    service: Service, request: Request, uploads: list[Path], *, model: LiveModel, desk: Desk
) -> Predictions:
    predictions = []
    for row, upload in enumerate(uploads):
        try:
            outcome = await service.segmented_while_connected(request, upload, model=model, desk=desk)
        except ServeError as error:
            raise InvocationError(error, row=row) from error
        predictions.append(await asyncio.to_thread(_prediction, outcome))
    return Predictions(predictions=tuple(predictions))


def _prediction(outcome: Outcome) -> Prediction:
    mask = base64.b64encode(outcome.mask.read_bytes()).decode()
    return Prediction(mask=mask, report=outcome.report.read_text(encoding="utf-8"))


def _body() -> dict[str, Any]:
    cell = {"type": "string", "format": "byte", "description": "A NIfTI file in base64."}
    row = {"type": "object", "required": [COLUMN], "additionalProperties": False, "properties": {COLUMN: cell}}
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "additionalProperties": False,
        "properties": {
            "columns": {"type": "array", "items": {"const": COLUMN}, "minItems": 1, "maxItems": 1},
            "index": {"type": "array"},
            "data": _rows({"type": "array", "items": cell, "minItems": 1, "maxItems": 1}),
        },
    }
    columns = {**row, "properties": {COLUMN: _rows(cell)}}
    forms = {
        "dataframe_split": split,
        "dataframe_records": _rows(row),
        "instances": _rows({"anyOf": [cell, row]}),
        "inputs": {"anyOf": [_rows(cell), columns]},
    }
    schema = {
        "oneOf": [
            {
                "type": "object",
                "required": [name],
                "additionalProperties": False,
                "properties": {name: form, "params": {"type": "object", "maxProperties": 0}},
            }
            for name, form in forms.items()
        ]
    }
    example = {"dataframe_split": {"columns": [COLUMN], "data": [["H4sIAAAA…"]]}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def _rows(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}
