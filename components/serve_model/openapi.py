"""What the OpenAPI document says beside the routes: bodies that are read as they come, binary answers, errors."""

from typing import Any

from fastapi import FastAPI
from pydantic import Field

from model_registry.segmentation_report import DISCLAIMER
from spine.values import Value

NIFTI = "application/gzip"
RETRY_AFTER = {"Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}}
VERSION_HEADERS: dict[str, Any] = {
    "X-Spineline-Version": {
        "description": "The version that answered.",
        "required": True,
        "schema": {"type": "integer"},
    },
    "X-Spineline-Model": {
        "description": "The digest of all of that version's files.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Spineline-Disclaimer": {"description": DISCLAIMER, "required": True, "schema": {"type": "string"}},
}
_FASTAPIS = "HTTPValidationError"
_BINARY = {"type": "string", "format": "binary"}


class ErrorAnswer(Value):
    """Every answer of status 4xx and 5xx."""

    error: str = Field(
        description="One line: what is wrong and what was expected.", examples=["the upload is no NIfTI file"]
    )


ERRORS = {
    400: "The upload is not a complete NIfTI file or not a well-formed form.",
    401: "Missing, unknown or expired token.",
    403: "The token's role does not allow it.",
    404: "No such job of this caller.",
    408: "The upload stalled.",
    409: "The job has no result, or none yet.",
    410: "The job's results are no longer kept.",
    413: "The upload, the scan, or the memory that it would take is larger than this server's limits.",
    415: "Another type of body than is served here.",
    422: "The file is NIfTI, but no CT volume that can be segmented.",
    429: "As many uploads of this caller are on their way as one may send at the same time.",
    500: "The model failed on this scan; the server's log has the reason.",
    503: "No version is loaded, or as much is under way as this server takes on.",
    507: "The server's disk refused the upload.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route for those statuses; 401 and 403 are every route's."""
    message: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": ERRORS[status]} for status in (*statuses, 401, 403)
    }
    challenge = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    for status, headers in ((429, RETRY_AFTER), (503, RETRY_AFTER), (401, challenge)):
        if status in message:
            message[status]["headers"] = headers
    return message


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an app; a malformed parameter is answered like every other error."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            message = operation["responses"].get("422", {})
            if _FASTAPIS in str(message):
                message.update(
                    description="A parameter is malformed.",
                    content={"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
                )
    return document


def scan_body() -> dict[str, Any]:
    """Return the ``requestBody`` of a scan: the file itself, or a form with it."""
    form = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {**_BINARY, "description": "The NIfTI file."}},
    }
    return {
        "requestBody": {
            "required": True,
            "description": "One NIfTI-1 or NIfTI-2 CT volume in HU, `.nii` or `.nii.gz`. Whatever else the type of a "
            "raw body is, it is read as the file itself.",
            "content": {
                "application/octet-stream": {"schema": {**_BINARY}},
                "multipart/form-data": {"schema": form},
            },
        }
    }


def mask_content() -> dict[str, Any]:
    """Return the ``content`` of an answer that is a mask."""
    return {NIFTI: {"schema": {**_BINARY, "description": "`.nii.gz` of uint8 labels 0-25 on the scan's own grid."}}}
