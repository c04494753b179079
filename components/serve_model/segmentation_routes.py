"""The routes of scans: ``POST /v1/segmentations`` at once or as a job, and what becomes of a job."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi import Path as PathParameter

from components.serve_model.access import Caller, Guard
from components.serve_model.disk import Desk
from components.serve_model.engine import LiveModel
from components.serve_model.errors import ExpiredJobError
from components.serve_model.jobs import Job, JobStatus
from components.serve_model.openapi import NIFTI, VERSION_HEADERS, errors, mask_content, scan_body
from components.serve_model.responses import json_answer, version_headers
from components.serve_model.segmentation import Outcome
from components.serve_model.service import Service
from components.serve_model.uploads import receive
from model_registry.segmentation_report import SegmentationReport

_PATH = "/v1/segmentations"
_JobName = Annotated[
    str, PathParameter(description="The job's id.", max_length=64, examples=["c5lP2VbXqWcM0Pz1n3gk9A"])
]
_JSON = "application/json"
_Prefer = Annotated[
    str | None, Header(description="`respond-async` for a job instead of the result.", examples=["respond-async"])
]


def segmentation_routes(service: Service, guard: Guard) -> APIRouter:
    """Return the routes of segmentations and their jobs, for readers."""
    router = APIRouter(tags=["segmentations"])
    _add_post(router, service, guard)
    _add_jobs(router, service, guard)
    return router


def _add_post(router: APIRouter, service: Service, guard: Guard) -> None:
    @router.post(
        _PATH,
        summary="Segment a scan",
        response_class=Response,
        responses=_post_responses(),
        openapi_extra=scan_body(),
    )
    async def segment(
        request: Request, caller: Annotated[Caller, Depends(guard.needs("reader"))], prefer: _Prefer = None
    ) -> Response:
        """Label the vertebrae of one CT volume: the mask, or with `Accept: application/json` what was found.

        The version that is live when the request comes answers it, whatever is promoted meanwhile. Needs the role
        reader.
        """

        async def answer(model: LiveModel) -> Response:
            async with AsyncExitStack() as held:
                desk = await held.enter_async_context(service.desk())
                with service.telemetry.stage("receive"), service.sending(request, caller) as sender:
                    upload = await receive(request, desk, sender=sender, limit_bytes=service.limits.upload_bytes)
                held.enter_context(service.place())
                if _wants_job(prefer):
                    return await _accepted(service, caller, model, desk=desk, upload=upload, held=held)
                outcome = await service.segmented_while_connected(request, upload, model=model, desk=desk)
                is_mask = _JSON not in request.headers.get("accept", "")
                return await _file(outcome, is_mask=is_mask, version=model.version, model_digest=model.digest)

        return await service.answered(answer)


async def _accepted(
    service: Service, caller: Caller, model: LiveModel, *, desk: Desk, upload: Path, held: AsyncExitStack
) -> Response:
    header = await service.header(upload, model=model)
    job = Job(owner=caller.name, version=model.version, model_digest=model.digest)
    work = service.segmented(upload, header, model=model, desk=desk, progress=job.progress)
    await service.jobs.begin(job, work, held=held.pop_all())
    headers = {
        "Location": f"{_PATH}/{job.id}",
        "Preference-Applied": "respond-async",
        **version_headers(version=model.version, model_digest=model.digest),
    }
    return json_answer(_status(job), status=202, headers=headers)


def _add_jobs(router: APIRouter, service: Service, guard: Guard) -> None:
    reader = Depends(guard.needs("reader"))

    @router.get(
        _PATH + "/{job}",
        summary="See how far a job is",
        response_model=None,
        responses={200: {"model": JobStatus, "description": "Where the job stands."}, **errors(404, 410)},
    )
    async def status(job: _JobName, caller: Annotated[Caller, reader]) -> Response:
        """Say where a job stands. Its maker sees it, and operators; nobody after the server was started anew."""
        return json_answer(_status(service.jobs.get(job, caller=caller)))

    @router.get(
        _PATH + "/{job}/mask",
        summary="Fetch a job's mask",
        response_class=Response,
        responses={
            200: {"description": "The mask.", "content": mask_content(), "headers": VERSION_HEADERS},
            **errors(404, 409, 410),
        },
    )
    async def mask(job: _JobName, caller: Annotated[Caller, reader]) -> Response:
        """Return the mask of a job that is done."""
        return await _result(service.jobs.get(job, caller=caller), is_mask=True)

    @router.get(
        _PATH + "/{job}/report",
        summary="Fetch a job's report",
        response_model=None,
        responses={
            200: {"model": SegmentationReport, "description": "What was found.", "headers": VERSION_HEADERS},
            **errors(404, 409, 410),
        },
    )
    async def report(job: _JobName, caller: Annotated[Caller, reader]) -> Response:
        """Return what a job that is done has found."""
        return await _result(service.jobs.get(job, caller=caller), is_mask=False)

    @router.delete(
        _PATH + "/{job}",
        summary="Cancel or forget a job",
        response_class=Response,
        status_code=204,
        responses={
            202: {"model": JobStatus, "description": "It was under way and is called off."},
            204: {"description": "It had ended and is forgotten, with its results."},
            **errors(404, 410),
        },
    )
    async def delete(job: _JobName, caller: Annotated[Caller, reader]) -> Response:
        """Call off a job that is under way; forget one that has ended."""
        found = service.jobs.get(job, caller=caller)
        if found.ended is None:
            found.cancel()
            return json_answer(_status(found), status=202)
        service.jobs.forget(found)
        return Response(status_code=204)


async def _result(job: Job, *, is_mask: bool) -> Response:
    try:
        return await _file(job.result(), is_mask=is_mask, version=job.version, model_digest=job.model_digest)
    except FileNotFoundError as error:
        raise ExpiredJobError from error


async def _file(outcome: Outcome, *, is_mask: bool, version: int, model_digest: str) -> Response:
    content = await asyncio.to_thread((outcome.mask if is_mask else outcome.report).read_bytes)
    headers = version_headers(version=version, model_digest=model_digest)
    return Response(content, media_type=NIFTI if is_mask else _JSON, headers=headers)


def _status(job: Job) -> JobStatus:
    return job.status(path=f"{_PATH}/{job.id}")


def _wants_job(prefer: str | None) -> bool:
    preferences = (prefer or "").lower().split(",")
    return any(preference.split(";")[0].strip() == "respond-async" for preference in preferences)


def _post_responses() -> dict[int | str, dict[str, Any]]:
    made = {
        **mask_content(),
        _JSON: {"schema": {"$ref": "#/components/schemas/SegmentationReport"}},
    }
    accepted = {
        "Location": {"description": "Path of the job.", "required": True, "schema": {"type": "string"}},
        "Preference-Applied": {"required": True, "schema": {"type": "string"}},
        **VERSION_HEADERS,
    }
    return {
        200: {"description": "The mask, or the report.", "content": made, "headers": VERSION_HEADERS},
        202: {"model": JobStatus, "description": "The job.", "headers": accepted},
        **errors(400, 408, 413, 422, 429, 500, 503, 507),
    }
