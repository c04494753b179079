"""Answers as every route gives them: strict JSON, and the headers that name the version."""

from fastapi import Response

from model_registry.segmentation_report import DISCLAIMER
from spine.storage import strict_json
from spine.values import Value


def json_answer(
    content: Value | dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return strict JSON."""
    plain = content.model_dump(mode="json") if isinstance(content, Value) else content
    return Response(strict_json(plain), status_code=status, media_type="application/json", headers=headers)


def version_headers(*, version: int, model_digest: str) -> dict[str, str]:
    """Return the headers of every answer that a version made."""
    return {
        "X-Spineline-Version": str(version),
        "X-Spineline-Model": model_digest,
        "X-Spineline-Disclaimer": DISCLAIMER,
    }
