"""The routes: parse, ask, show."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from study.commands.registry import ANSWERS
from study.config.messages import unknown
from study.service.answer_cache import CachedAnswer, have_done, uninterrupted
from study.service.answer_routes import Limit, Name, Offset, answer_endpoint, answer_schema, cache_of, show_answer
from study.service.event_stream import Streams
from study.service.openapi import EXAMPLE_FILE, HEADERS, PAGED, answers
from study.service.problem_details import Problem
from study.service.schemas import (
    HealthShape,
    LaunchShape,
    PlanShape,
    ReadyShape,
    StatusShape,
    StopShape,
)
from study.service.settings import Backends
from study.service.upload_limits import NAME, check_upload
from study.service.worker_pool import WorkerPool
from trainers.errors import InputError

MEDIA_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "application/json")
LAUNCH_LIMIT_S = 120.0
EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"const": "status"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}


def closed(request: Request) -> None:
    """A parameter that is misspelt, or given twice, would silently count for nothing. Raises: Problem."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    keys = [key for key, _ in request.query_params.multi_items()]
    faults = [(key, *unknown("parameter", key, known or ["none"])) for key in dict.fromkeys(keys) if key not in known]
    faults += [(key, "given twice", "keep one") for key in known if keys.count(key) > 1]
    if faults:
        raise Problem(
            422, "", [{"where": f"query {key}", "fault": fault, "remedy": remedy} for key, fault, remedy in faults]
        )


router = APIRouter(dependencies=[Depends(closed)])


@router.get("/studies", tags=["studies"], response_model=list[StatusShape], responses=answers(422, 503, headers=PAGED))
async def studies(request: Request, offset: Offset = 0, limit: Limit = 100) -> Response:
    """Where every study on the storage stands, by name."""
    found = await cache_of(request).ask("studies")
    every = json.loads(found.body)
    body = json.dumps(every[offset : offset + limit], ensure_ascii=False).encode()
    page = CachedAnswer(body, "", len(every), found.read, found.verified, found.looked, found.took)
    return show_answer(request, page, offset, limit)


@router.post(
    "/studies",
    tags=["studies"],
    status_code=202,
    response_model=LaunchShape,
    responses={
        **answers(409, 415, 422, 503),
        200: {"model": PlanShape, "description": "With check=true: what it would run."},
        202: {
            "model": LaunchShape,
            "description": "On its way.",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "Where it can be followed."}},
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/yaml": {
                    "schema": {"type": "string", "format": "dicestudy-file"},
                    "examples": {"small": {"summary": "Eight small trials", "value": EXAMPLE_FILE}},
                }
            },
        }
    },
)
async def post(
    request: Request,
    check: Annotated[bool, Query(description="Say what it would run, and run nothing.")] = False,
    retry_failed: Annotated[bool, Query(description="Run those trials anew that failed by their own fault.")] = False,
) -> Response:
    """Check, store and launch a study file; posted again, it continues, and nothing is done twice."""
    text = await _text(request)
    try:
        await asyncio.to_thread(check_upload, text, _backends(request).data_roots)
    except InputError as error:
        raise Problem(422, "", [vars(fault) for fault in error.faults]) from None
    arguments = {"text": text, "check": check, "retry_failed": retry_failed}
    reply = await uninterrupted(have_done(_pool(request, "launch"), "post", "", arguments, LAUNCH_LIMIT_S))
    name = json.loads(reply.body)["study"]
    if not check:
        cache_of(request).forget(name)
    headers = {} if check else {"Location": f"/studies/{name}"}
    return Response(reply.body, 200 if check else 202, headers, "application/json")


@router.get(
    "/studies/{name}", tags=["studies"], response_model=StatusShape, responses=answers(404, 422, 503, headers=HEADERS)
)
async def status(request: Request, name: Name) -> Response:
    """Where a study stands: counts, time left [s], failures with reasons."""
    return show_answer(request, await cache_of(request).ask("status", name))


@router.get(
    "/studies/{name}/events",
    tags=["studies"],
    response_class=Response,
    responses={
        **answers(404, 422, 503),
        200: {
            "description": "Server-sent events: `status`, with the study's status as data, until it is over.",
            "content": {"text/event-stream": {"schema": EVENT}},
        },
    },
)
async def events(request: Request, name: Name) -> StreamingResponse:
    """Follow a study until it is over."""
    streams: Streams = request.app.state.streams
    stream = await streams.begin(name, request.scope["state"]["who"])
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


@router.delete(
    "/studies/{name}/run",
    tags=["studies"],
    status_code=202,
    response_model=StopShape,
    responses=answers(404, 409, 422, 503),
)
async def stop(request: Request, name: Name) -> Response:
    """Ask a running study to end; its trials keep their checkpoints."""
    reply = await uninterrupted(have_done(_pool(request, "launch"), "stop", name, {}, LAUNCH_LIMIT_S))
    cache_of(request).forget(name)
    return Response(reply.body, 202, media_type="application/json")


for _row in ANSWERS.values():
    router.add_api_route(
        f"/studies/{{name}}/{_row.name}",
        answer_endpoint(_row),
        tags=["answers"],
        response_model=answer_schema(_row),
        responses=answers(404, 422, 503, headers=PAGED if _row.paged else HEADERS),
    )


@router.get("/healthz", tags=["service"], responses=answers(422))
async def health() -> HealthShape:
    """Whether the service answers; looks at nothing else."""
    return HealthShape(ok=True)


@router.get(
    "/readyz",
    tags=["service"],
    response_model=ReadyShape,
    responses={
        **answers(422),
        503: {"model": ReadyShape, "description": "A part cannot be used: which, and why."},
    },
)
async def ready(request: Request) -> Response:
    """Whether the service can do its work: the store, the storage and the cluster."""
    found = await request.app.state.readiness.look()
    return JSONResponse(found, 200 if found["ready"] else 503)


async def _text(request: Request) -> str:
    """The body as text. Raises: Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise Problem(415, f"the body is {kind[:100] or 'of no kind'!r}, expected a study file as application/yaml")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
        return body.decode()
    except ClientDisconnect:
        raise Problem(400, "the body broke off") from None
    except UnicodeDecodeError:
        raise Problem(422, "", [{"where": NAME, "fault": "is not UTF-8 text", "remedy": "save it as UTF-8"}]) from None


def _pool(request: Request, name: str) -> WorkerPool:
    pool: WorkerPool = request.app.state.pools[name]
    return pool


def _backends(request: Request) -> Backends:
    backends: Backends = request.app.state.settings.backends
    return backends
