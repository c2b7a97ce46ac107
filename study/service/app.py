"""The service as an application, and the server that runs it."""

from __future__ import annotations

import importlib.metadata
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from study.service import problem_details as problems
from study.service.answer_cache import AnswerCache
from study.service.docs_page import router as pages
from study.service.event_stream import Streams
from study.service.health import Readiness
from study.service.middleware import SecurityMiddleware
from study.service.openapi import describe
from study.service.routes import router as routes
from study.service.settings import ServiceSettings
from study.service.worker_pool import WorkerPool
from trainers.errors import Fault, InputError

WORKERS = {"storage": 1, "store": 2, "launch": 1}
"""Of each pool: looking at the storage, reading the store and computing, checking and launching."""
SECONDS_TO_STOP = 3


def make_app(settings: ServiceSettings) -> FastAPI:
    """The service with these settings. Raises: InputError if they are not safe."""
    settings.require()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pools = {name: WorkerPool(settings.backends, workers) for name, workers in WORKERS.items()}
        cache = AnswerCache(pools)
        app.state.settings, app.state.pools, app.state.cache = settings, pools, cache
        app.state.streams, app.state.readiness = Streams(cache), Readiness(settings.backends)
        try:
            yield
        finally:
            app.state.readiness.close()
            for pool in pools.values():
                await pool.close()

    app = FastAPI(
        title="dicestudy",
        version=importlib.metadata.version("dicestudy"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app, (routes, pages))
    app.include_router(routes)
    app.include_router(pages)
    app.add_middleware(SecurityMiddleware, settings=settings)
    describe(app)
    return app


def serve(settings: ServiceSettings, say: Callable[[str], None]) -> None:
    """Answer requests until interrupted.

    Raises: InputError if the settings are not safe, or the place to listen at is taken.
    """
    import uvicorn

    app = make_app(settings)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    listening = _listen(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"http://{host}:{listening.getsockname()[1]}, described at /docs; {_who(settings)}")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the guard writes it, with who asked
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol written out: asyncio sends small answers at once on such sockets alone, and on others
        # the kernel holds each back for 40 ms.
        listening = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except OSError as error:
        raise InputError(Fault(f"{host}:{port}", error.strerror or "cannot be used", "choose --port")) from None
    return listening


def _who(settings: ServiceSettings) -> str:
    names = [f"{token.name} ({'write' if token.may_write else 'read'})" for token in settings.tokens.listed]
    return f"tokens: {', '.join(names)}" if names else "no token, so it answers this machine only"
