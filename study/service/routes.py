"""The routes: parse, ask, show."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from study.config.messages import unknown
from study.service.answer_cache import Answer, AnswerCache, have_done, uninterrupted
from study.service.event_stream import Streams
from study.service.openapi import EXAMPLE_FILE, HEADERS, PAGED, answers
from study.service.problem_details import Problem
from study.service.schemas import (
    CellShape,
    HealthShape,
    LaunchShape,
    MapShape,
    PlanShape,
    ReadyShape,
    RowShape,
    StatusShape,
    StopShape,
    TrialShape,
)
from study.service.settings import Backends
from study.service.upload_limits import NAME, check_upload
from study.service.worker_pool import WorkerPool
from trainers.errors import InputError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of a study's name, as its file has it."""
GOALS = ["ignore", "empty", "dice"]
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

Name = Annotated[
    str,
    Path(
        pattern=NAME_PATTERN,
        description="The study's name.",
        examples=["first"],
        json_schema_extra={"format": "dicestudy-name"},
    ),
]
Where = Annotated[
    str | None,
    Query(
        max_length=500,
        description="Which ones: an expression over settings such as `eps>1 and phi=='I'`, ε in voxels.",
        examples=["eps>1 and phi=='I'"],
        json_schema_extra={"format": "dicestudy-where"},
    ),
]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many to leave out first.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]


@router.get("/studies", tags=["studies"], response_model=list[StatusShape], responses=answers(422, 503, headers=PAGED))
async def studies(request: Request, offset: Offset = 0, limit: Limit = 100) -> Response:
    """Where every study on the storage stands, by name."""
    found = await _cache(request).ask("studies")
    every = json.loads(found.body)
    body = json.dumps(every[offset : offset + limit], ensure_ascii=False).encode()
    page = Answer(body, "", len(every), found.read, found.verified, found.looked, found.took)
    return _show(request, page, offset, limit)


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
        _cache(request).forget(name)
    headers = {} if check else {"Location": f"/studies/{name}"}
    return Response(reply.body, 200 if check else 202, headers, "application/json")


@router.get(
    "/studies/{name}", tags=["studies"], response_model=StatusShape, responses=answers(404, 422, 503, headers=HEADERS)
)
async def status(request: Request, name: Name) -> Response:
    """Where a study stands: counts, time left [s], failures with reasons."""
    return _show(request, await _cache(request).ask("status", name))


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
    _cache(request).forget(name)
    return Response(reply.body, 202, media_type="application/json")


@router.get(
    "/studies/{name}/best",
    tags=["answers"],
    response_model=list[CellShape],
    responses=answers(404, 422, 503, headers=HEADERS),
)
async def best(
    request: Request,
    name: Name,
    goal: Annotated[
        str,
        Query(max_length=100, description="What to be best at.", json_schema_extra={"enum": GOALS}),
    ] = "ignore",
    metric: Annotated[
        str | None,
        Query(
            max_length=200,
            description="A metric's name instead of a goal; the lowest first with a leading `-`.",
            examples=["dsc.A.tumor"],
            json_schema_extra={"format": "dicestudy-metric"},
        ),
    ] = None,
    where: Where = None,
    top: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 5,
) -> Response:
    """The best cells, with intervals, and which differ significantly from the first."""
    found = await _cache(request).ask("best", name, goal=goal, metric=metric, where=where, top=top)
    return _show(request, found)


@router.get(
    "/studies/{name}/table",
    tags=["answers"],
    response_model=list[RowShape],
    responses=answers(404, 422, 503, headers=PAGED),
)
async def table(request: Request, name: Name, offset: Offset = 0, limit: Limit = 1000) -> Response:
    """The paper's table 1 of the study."""
    found = await _cache(request).ask("table", name, offset=offset, limit=limit)
    return _show(request, found, offset, limit)


@router.get(
    "/studies/{name}/map", tags=["answers"], response_model=MapShape, responses=answers(404, 422, 503, headers=HEADERS)
)
async def map_(request: Request, name: Name) -> Response:
    """Where ignoring turns into learning empty."""
    return _show(request, await _cache(request).ask("map", name))


@router.get(
    "/studies/{name}/trials",
    tags=["answers"],
    response_model=list[TrialShape],
    responses=answers(404, 422, 503, headers=PAGED),
)
async def trials(
    request: Request,
    name: Name,
    where: Where = None,
    state: Annotated[
        str | None, Query(max_length=20, description="Of the trials.", json_schema_extra={"enum": ["DONE", "FAILED"]})
    ] = None,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Response:
    """The trials that are over, in the order of their settings."""
    found = await _cache(request).ask("trials", name, where=where, state=state, offset=offset, limit=limit)
    return _show(request, found, offset, limit)


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


def _show(request: Request, answer: Answer, offset: int | None = None, limit: int = 0) -> Response:
    headers = {
        "ETag": answer.tag,
        "Age": str(max(0, int(time.time() - answer.verified))),
        "Last-Modified": formatdate(answer.read, usegmt=True),
        "Cache-Control": "private, no-cache",
    }
    if offset is not None and answer.total is not None:
        headers["X-Total-Count"] = str(answer.total)
        if offset + limit < answer.total:
            others = {key: value for key, value in request.query_params.items() if key not in ("offset", "limit")}
            following = urlencode({**others, "offset": offset + limit, "limit": limit})
            headers["Link"] = f'<{request.url.path}?{following}>; rel="next"'
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if answer.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(answer.body, headers=headers, media_type="application/json")


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


def _cache(request: Request) -> AnswerCache:
    cache: AnswerCache = request.app.state.cache
    return cache


def _pool(request: Request, name: str) -> WorkerPool:
    pool: WorkerPool = request.app.state.pools[name]
    return pool


def _backends(request: Request) -> Backends:
    backends: Backends = request.app.state.settings.backends
    return backends
