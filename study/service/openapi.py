"""The description of the service: which answers each route gives, its security scheme, its words."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from study.service import problem_details as problems
from study.service.schemas import ProblemShape

ABOUT = """What will my Dice loss do with labels that are missing, and with labels that are rightly empty?

A study file posted is checked, stored and launched; progress, the best cells, the table, the map and the trials are
read back. Every route is one of the command line's functions, with its words and its errors. Answers are kept: the
header `Age` says for how many seconds one has not been compared with the store, `ETag` spares fetching it again.
"""
TAGS = [
    {"name": "studies", "description": "Launch, follow and stop studies."},
    {"name": "answers", "description": "What a study found."},
    {"name": "service", "description": "The state of the service itself; these need no token."},
]
EXAMPLE_FILE = """name: first
data: {source: phantom, train: 24, test: 12}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 10, lr: 5.0e-3}
search:
  space: {loss: dice, phi: [I, BI], eps: [1.0e-7, v_hat], batch_size: 2, labeling: [full, partial]}
"""
SAID = {
    401: "no token, or one that is not known",
    403: "the token may not do this; or, without tokens, another site's page asks",
    404: "no such study",
    409: "the study is running, or is not",
    413: "the body is too long",
    415: "the body is no YAML",
    421: "without tokens, another host's name",
    422: "wrong input: every fault",
    429: "too many requests",
    500: "a fault of the service",
    503: "the store does not answer, or an answer takes long: ask again",
}
EVERYWHERE = (401, 403, 413, 421, 429, 500)
HEADERS: dict[str, Any] = {
    "ETag": {"schema": {"type": "string"}, "description": "For If-None-Match."},
    "Age": {"schema": {"type": "integer", "minimum": 0}, "description": "Since it was last known to be true [s]."},
    "Last-Modified": {"schema": {"type": "string"}, "description": "When it was read."},
}
PAGED: dict[str, Any] = {
    **HEADERS,
    "X-Total-Count": {"schema": {"type": "integer", "minimum": 0}, "description": "Entries in all."},
    "Link": {"schema": {"type": "string"}, "description": 'The next page, rel="next", if there is one.'},
}


def answers(*statuses: int, headers: dict[str, Any] | None = None, example: Any = None) -> dict[int | str, Any]:
    """The answers of a route: those that every route gives, and these; ``headers`` of the good one."""
    found: dict[int | str, Any] = {
        status: {
            "description": SAID[status],
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemShape"}}},
        }
        for status in sorted({*EVERYWHERE, *statuses})
    }
    good: dict[str, Any] = {}
    if headers is not None:
        good["headers"] = headers
        found[304] = {"description": "Not changed since the one that If-None-Match names."}
    if example is not None:
        good["content"] = {"application/json": {"example": example}}
    return {200: good, **found} if good else found


def describe(app: FastAPI) -> None:
    """Have the application describe itself in these words."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes, tags=TAGS)
            parts = schema.setdefault("components", {})
            shape = ProblemShape.model_json_schema(ref_template="#/components/schemas/{model}")
            parts.setdefault("schemas", {}).update(shape.pop("$defs", {}))
            parts["schemas"]["ProblemShape"] = shape
            for name in ("HTTPValidationError", "ValidationError"):
                parts["schemas"].pop(name, None)
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": "A token that the operator gave you."}
            }
            _link(schema["paths"])
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if path in ("/healthz", "/readyz") else [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _link(paths: dict[str, Any]) -> None:
    """Say which answers name a study that other routes take."""
    named = [
        operation for path, each in paths.items() if path.startswith("/studies/{name}") for operation in each.values()
    ]
    for path, method, status, name in (
        ("/studies", "post", "202", "$response.body#/study"),
        ("/studies/{name}", "get", "200", "$request.path.name"),
    ):
        paths[path][method]["responses"][status]["links"] = {
            operation["summary"]: {
                "operationId": operation["operationId"],
                "parameters": {"name": name},
                "description": operation["description"],
            }
            for operation in named
            if operation is not paths[path].get(method)
        }
