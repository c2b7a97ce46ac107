"""The door: every request passes here before any route sees it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from study.service.auth import Token
from study.service.problem_details import Problem
from study.service.settings import MOST_BYTES, ServiceSettings

OPEN = ("/healthz", "/readyz", "/docs", "/openapi.json")
"""What needs no token: it says nothing of any study."""
READING = ("GET", "HEAD", "OPTIONS")
WRITES = "60/minute"
"""Launches and stops of one client."""
WRONG_TOKENS = "30/minute"
"""Told one address that they are wrong; then it is told to wait."""
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

log = logging.getLogger("dicestudy.service")


class SecurityMiddleware:
    """Checks the host, the token, its rights, the rate and the size, in this order, and writes the log.

    A line of the log: who, method, path as it came, status, milliseconds. Never a header.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self.app, self.settings = app, settings
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._rates = {"all": parse(settings.rate), "writes": parse(WRITES), "wrong": parse(WRONG_TOKENS)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status, who = time.perf_counter(), 0, "-"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            try:
                self._require_host(scope)
                token = self._require_token(scope)
                who = token.name if token else "-"
                scope.setdefault("state", {})["who"] = who if token else _address(scope)
                self._require_rate(scope, token)
                limited = self._limited(scope, receive)
            except Problem as problem:
                await problem.response()(scope, receive, sending)
                return
            await self.app(scope, limited, sending)
        finally:
            # The path as it came, still encoded: a line break in it must not make a line of the log.
            path = scope.get("raw_path", b"").decode("ascii", "replace")[:200]
            log.info("%s %s %s %s %.0f ms", who, scope["method"], path, status, (time.perf_counter() - begun) * 1000)

    def _require_host(self, scope: Scope) -> None:
        """Without a token, a page in the user's browser must not be able to ask in the user's name."""
        if self.settings.tokens:
            return
        hosts = _headers(scope, b"host")
        own = hosts[0] if len(hosts) == 1 else ""
        if _name(own) not in ("localhost", "127.0.0.1", "::1", self.settings.host):
            raise Problem(421, "without a token the service answers to localhost only; ask http://127.0.0.1")
        for origin in _headers(scope, b"origin"):
            if urlsplit(origin).netloc != own:
                raise Problem(403, "without a token the service answers no other site's pages")

    def _require_token(self, scope: Scope) -> Token | None:
        path = scope["path"]
        if not self.settings.tokens or path in OPEN or path.startswith("/docs/"):
            return None
        address = _address(scope)
        presented = _headers(scope, b"authorization")
        scheme, _, given = presented[0].partition(" ") if len(presented) == 1 else ("", "", "")
        token = self.settings.tokens.holder(given.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            # Who has a right token is never kept waiting by others who guess from behind the same proxy.
            if presented and not self._limiter.hit(self._rates["wrong"], "wrong", address):
                raise Problem(429, "too many wrong tokens; wait a minute", headers={"Retry-After": "60"})
            challenge = 'Bearer realm="dicestudy"' + (', error="invalid_token"' if presented else "")
            detail = "the token is not known" if presented else "a token is needed: Authorization: Bearer TOKEN"
            raise Problem(401, detail, headers={"WWW-Authenticate": challenge})
        if scope["method"] not in READING and not token.may_write:
            challenge = 'Bearer realm="dicestudy", error="insufficient_scope"'
            detail = f"the token {token.name} may read only; launching and stopping need one that may write"
            raise Problem(403, detail, headers={"WWW-Authenticate": challenge})
        return token

    def _require_rate(self, scope: Scope, token: Token | None) -> None:
        client = f"token {token.name}" if token else _address(scope)
        # A file that is only checked starts nothing.
        changes = scope["method"] not in READING and b"check=true" not in scope.get("query_string", b"")
        kinds = ["all", "writes"] if changes else ["all"]
        for kind in kinds:
            if not self._limiter.hit(self._rates[kind], kind, client):
                wait = str(max(1, self._rates[kind].get_expiry()))
                raise Problem(429, f"more than {self._rates[kind]} requests; wait", headers={"Retry-After": wait})

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Refuse a body that says it is too long, and cut one that does not say so."""
        too_long = Problem(
            413, f"the body is over {MOST_BYTES // 1024} KiB, which no study file is", headers={"Connection": "close"}
        )
        for length in _headers(scope, b"content-length"):
            if not length.isdigit() or int(length[:20]) > MOST_BYTES:
                raise too_long
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                if scope["method"] in READING:  # nobody reads it, so nobody would catch the problem
                    return {"type": "http.disconnect"}
                raise too_long
            return message

        return counted


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in _pairs(scope) if key == name]


def _pairs(scope: Scope) -> Iterable[tuple[bytes, bytes]]:
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return pairs


def _name(host: str) -> str:
    """A host without its port: ``[::1]:8000`` as ``::1``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else "unknown"
