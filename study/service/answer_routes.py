"""The routes of answers, made from the registry: parameters, schema, and how an answer is shown."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Path, Query, Request
from starlette.responses import Response

from study.commands.registry import MAX_PAGE_SIZE, MAX_TOP, Answer, Option
from study.service import schemas
from study.service.answer_cache import AnswerCache, CachedAnswer

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of a study's name, as its file has it."""
Name = Annotated[
    str,
    Path(
        pattern=NAME_PATTERN,
        description="The study's name.",
        examples=["first"],
        json_schema_extra={"format": "dicestudy-name"},
    ),
]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many to leave out first.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="How many at most.")]


def answer_endpoint(row: Answer) -> Callable[..., Awaitable[Response]]:
    """The function that answers requests for ``row``; its signature has the row's options as query parameters."""

    async def endpoint(request: Request, name: str, **options: Any) -> Response:
        found = await cache_of(request).ask(row.name, name, **options)
        return (
            show_answer(request, found, options["offset"], options["limit"])
            if row.paged
            else show_answer(request, found)
        )

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("request", keyword, annotation=Request),
        inspect.Parameter("name", keyword, annotation=Name),
        *(
            inspect.Parameter(option.name, keyword, default=option.default, annotation=_query(option))
            for option in row.options
        ),
    ]
    if row.paged:
        parameters += [
            inspect.Parameter("offset", keyword, default=0, annotation=Offset),
            inspect.Parameter("limit", keyword, default=row.page_size, annotation=Limit),
        ]
    endpoint.__signature__ = inspect.Signature(parameters, return_annotation=Response)  # type: ignore[attr-defined]
    # The operation's name in the description is made from these.
    endpoint.__name__, endpoint.__doc__ = row.name, row.help
    return endpoint


def answer_schema(row: Answer) -> Any:
    """The type of ``row``'s body in the description."""
    shape: Any = getattr(schemas, row.schema)
    return list.__class_getitem__(shape) if row.many else shape


def _query(option: Option) -> Any:
    if option.is_number:
        return Annotated[int, Query(ge=1, le=MAX_TOP, description=option.help)]
    extra: dict[str, Any] = {"enum": list(option.choices)} if option.choices else {}
    if option.format:
        extra["format"] = option.format
    query = Query(
        max_length=option.max_length,
        description=option.help,
        examples=[option.example] if option.example else None,
        json_schema_extra=extra,
    )
    return Annotated[str | None, query] if option.default is None else Annotated[str, query]


def show_answer(request: Request, answer: CachedAnswer, offset: int | None = None, limit: int = 0) -> Response:
    """Send an answer with its age and tag, and of a page the number of entries and a link to the next."""
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


def cache_of(request: Request) -> AnswerCache:
    """The kept answers of the service."""
    cache: AnswerCache = request.app.state.cache
    return cache
