"""Errors as problem details (RFC 9457), with the texts of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from trainers.errors import Fault

MEDIA_TYPE = "application/problem+json"
STATUS_OF = {"wrong": 422, "unknown": 404, "busy": 409, "silent": 503, "failed": 409}
"""Statuses of what a worker says of its task; anything else is the service's own fault."""


class Problem(Exception):  # noqa: N818 - the standard's word
    """What becomes an answer that says what went wrong. detail: the lines that the command line would print."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        faults: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.faults, self.headers = status, list(faults), dict(headers or {})
        self.detail = detail or "\n".join(str(Fault(**fault)) for fault in self.faults)
        super().__init__(self.detail)

    def response(self) -> Response:
        """The answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail or HTTPStatus(self.status).phrase,
        }
        if self.faults:
            body["faults"] = self.faults
        text = json.dumps(body, ensure_ascii=False)
        # Half of a surrogate pair, if a request smuggled one in, is not UTF-8.
        return Response(text.encode(errors="replace"), self.status, self.headers, MEDIA_TYPE)


def of_worker(kind: str, faults: Sequence[Mapping[str, str]], retry_s: int = 5) -> Problem:
    """The problem that a worker's answer stands for."""
    status = STATUS_OF.get(kind, 500)
    return Problem(status, "", faults, {"Retry-After": str(retry_s)} if status == 503 else None)


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Tell every error of an application in this form. routers: all that it includes."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(routers, request))
        return Problem(error.status_code, _said(error.status_code, request), headers=headers).response()

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [
            {
                "where": " ".join(str(part) for part in entry["loc"]),
                "fault": f"{entry['msg'][:1].lower()}{entry['msg'][1:]}, got {str(entry.get('input'))[:100]!r}",
                "remedy": "see /docs",
            }
            for entry in error.errors()
        ]
        return Problem(422, "", faults).response()

    async def unforeseen(_: Request, __: Exception) -> Response:
        return Problem(500, "the service failed; its log says why").response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(Exception, unforeseen)


def _said(status: int, request: Request) -> str:
    match status:
        case HTTPStatus.NOT_FOUND:
            return "no such page; see /docs for those there are"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.method} is not answered here; see /docs"
        case _:
            return ""


def _methods(routers: Sequence[APIRouter], request: Request) -> list[str]:
    """Every method that the path answers; the router names those of its first route alone."""
    found: set[str] = set()
    for route in [route for router in routers for route in router.routes] + request.app.router.routes:
        if route.matches(request.scope)[0] != Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)
