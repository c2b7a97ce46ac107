"""A server in front of another that sometimes fails, or is slow: for faults that a real server has too seldom."""

from __future__ import annotations

import random
import time
from http.server import BaseHTTPRequestHandler

import requests


class Erratic(BaseHTTPRequestHandler):
    """A proxy that passes requests on, and sometimes fails before or after, or is slow."""

    target = ""
    chance = random.Random(0)
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        draw = self.chance.random()
        if self.path != "/health" and draw < 0.02:
            time.sleep(35)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        if self.path != "/health" and 0.1 <= draw < 0.2:
            self._answer(500, b"{}")
            return
        answer = requests.request(self.command, self.target + self.path, data=body, headers=headers, timeout=120)
        if self.path != "/health" and 0.2 <= draw < 0.3:
            self._answer(500, b"{}")
            return
        self._answer(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))

    def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""
