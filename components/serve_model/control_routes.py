"""The routes that read the ledger and change what is served, for those whose role allows it."""

import json
import logging
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as PathParameter

from components.serve_model.access import Caller, Guard
from components.serve_model.errors import MalformedChangeError, TooLargeError
from components.serve_model.openapi import ERRORS, ErrorAnswer
from components.serve_model.registry_service import Control
from components.serve_model.responses import json_answer
from components.serve_model.schemas import (
    Approval,
    ApprovalAnswer,
    ChangeAnswer,
    DryRunAnswer,
    EventAnswer,
    HistoryAnswer,
    Promotion,
    Rollback,
    VersionsAnswer,
)
from model_registry.dry_run import dry_run
from model_registry.evidence_refresh import refresh_evidence_packs
from model_registry.lifecycle import Registry
from model_registry.promotion import promote, roll_back
from spine.errors import MalformedFileError, SpinelineError
from spine.values import Value

_LOG = logging.getLogger(__name__)
_BODY_BYTES = 16 << 10
_Body = TypeVar("_Body", bound=Value)
_Version = Annotated[int, PathParameter(ge=1, le=10**9, description="Number of the version.")]


def control_routes(control: Control, *, guard: Guard) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["versions"])
    _add_reading(router, control, guard)
    _add_approval(router, control, guard)
    _add_promotion(router, control, guard)
    _add_rollback(router, control, guard)
    return router


def _add_reading(router: APIRouter, control: Control, guard: Guard) -> None:
    needs_reader = [Depends(guard.needs("reader"))]

    @router.get(
        "/versions", dependencies=needs_reader, summary="List the versions", responses=_responses(VersionsAnswer)
    )
    async def versions() -> Response:
        """List all versions, where each stands in its life, and which one is in use. Role: reader."""
        return json_answer(await control.read(lambda registry: VersionsAnswer.of(registry.state())))

    @router.get("/history", dependencies=needs_reader, summary="Read the ledger", responses=_responses(HistoryAnswer))
    async def history() -> Response:
        """Show every event of the ledger, oldest first, its chain verified. Role: reader."""

        def read(registry: Registry) -> HistoryAnswer:
            return HistoryAnswer(events=tuple(EventAnswer.of(event) for event in registry.history()))

        return json_answer(await control.read(read))


def _add_approval(router: APIRouter, control: Control, guard: Guard) -> None:
    @router.post(
        "/versions/{version}/approval",
        summary="Approve a version",
        openapi_extra=_takes(Approval),
        responses=_responses(ApprovalAnswer, changes=True),
    )
    async def approve(
        request: Request, version: _Version, caller: Annotated[Caller, Depends(guard.needs("approver"))]
    ) -> Response:
        """Approve a registered version, so that it may be promoted. Role: approver."""
        body = await _body(request, Approval)

        def work(registry: Registry) -> ApprovalAnswer:
            event = registry.approve(version, actor=caller.name, reason=body.reason)
            return ApprovalAnswer(event=EventAnswer.of(event), has_evidence_pack=_packed(registry, version))

        return json_answer(await control.change("approval", work))


def _add_promotion(router: APIRouter, control: Control, guard: Guard) -> None:
    @router.post(
        "/promotions",
        summary="Promote a version",
        openapi_extra=_takes(Promotion),
        responses=_responses(ChangeAnswer | DryRunAnswer, changes=True),
    )
    async def promotion(request: Request, caller: Annotated[Caller, Depends(guard.needs("operator"))]) -> Response:
        """Put an approved version in use.

        Digests, verdict and golden case are checked first; it is taken back where a server can't follow within the
        deadline. Role: operator.
        """
        body = await _body(request, Promotion)

        def work(registry: Registry) -> ChangeAnswer | DryRunAnswer:
            golden = control.golden(registry, keep=not body.dry_run)
            if body.dry_run:
                return DryRunAnswer.of(dry_run(registry, body.version, golden=golden), root=control.root)
            made = promote(
                registry,
                body.version,
                actor=caller.name,
                reason=body.reason,
                golden=golden,
                deadline_s=body.deadline_s,
            )
            refresh_evidence_packs(registry, made.event)
            return ChangeAnswer.of(made)

        return json_answer(await control.change("promotion", work))


def _add_rollback(router: APIRouter, control: Control, guard: Guard) -> None:
    @router.post(
        "/rollbacks",
        summary="Roll back",
        openapi_extra=_takes(Rollback),
        responses=_responses(ChangeAnswer, changes=True),
    )
    async def rollback(request: Request, caller: Annotated[Caller, Depends(guard.needs("operator"))]) -> Response:
        """Return to an earlier version: no retraining, no new verdict. Role: operator."""
        body = await _body(request, Rollback)

        def work(registry: Registry) -> ChangeAnswer:
            golden = control.golden(registry, keep=True)
            made = roll_back(
                registry, body.to, actor=caller.name, reason=body.reason, golden=golden, deadline_s=body.deadline_s
            )
            refresh_evidence_packs(registry, made.event)
            return ChangeAnswer.of(made)

        return json_answer(await control.change("rollback", work))


def _packed(registry: Registry, version: int) -> bool:
    """Make the evidence pack; the approval stands without, where this server may not write it or lacks a library."""
    try:
        from model_registry.evidence_pack import make_evidence_pack

        make_evidence_pack(registry, version)
    except (ImportError, OSError, SpinelineError) as error:
        _LOG.warning("version %d is approved, but its evidence pack was not made: %s", version, error)
        return False
    return True


async def _body(request: Request, shape: type[_Body]) -> _Body:
    """Read a small JSON body; called by the route, so that nobody sends one who may not."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _BODY_BYTES:
            raise TooLargeError("the body is too large", limit=f"{_BODY_BYTES >> 10} KiB")
    try:
        return shape.parse(json.loads(content, object_pairs_hook=_unique), where="the body")
    except MalformedFileError as error:
        raise MalformedChangeError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise MalformedChangeError("the body: not JSON; expected JSON in UTF-8") from error


def _unique(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of JSON; a field given twice would be read as the last one here, and as the first elsewhere."""
    names = [name for name, _ in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise MalformedChangeError(f"the body: {twice[:60]!r} is given twice; expected each field once")
    return dict(fields)


def _takes(shape: type[Value]) -> dict[str, Any]:
    schema = {"application/json": {"schema": shape.model_json_schema()}}
    return {"requestBody": {"required": True, "content": schema}}


def _responses(shape: Any, *, changes: bool = False) -> dict[int | str, dict[str, Any]]:
    message: dict[int | str, str] = {
        401: ERRORS[401],
        403: ERRORS[403],
        409: "The ledger is not sound.",
        503: "The ledger can't be reached.",
    }
    if changes:
        message |= {
            404: "No such version.",
            409: "The version's state, another change, or a server that did not follow forbids it.",
            413: "The body is too large.",
            422: "The body is wrong, or a check failed.",
        }
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer, "description": text} for status, text in message.items()
    }
    return {200: {"model": shape, "description": "What is so, or was done."}, **refusals}
