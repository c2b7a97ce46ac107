"""The service from Python: the local functions' calls, answered by a server.

import study
client = study.Client("http://127.0.0.1:8000")
client.launch("study.yaml")
client.best("first", goal="ignore", top=5)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import requests
import yaml
from requests.auth import AuthBase

from trainers.errors import DicestudyError, Fault, InputError

if TYPE_CHECKING:
    from study.config.spec import StudySpec

    Study = StudySpec | str
    """A study as loaded, or its name."""

POSTED = "study.yaml"
"""What the server calls the file that it was sent."""
PAGE = 1000
CONNECT_S, ANSWER_S = 10.0, 60.0
WRONG = (404, 413, 415, 422)
"""Statuses that say that the input is wrong."""


class _Bearer(AuthBase):
    """The token of a request; given so, no ``.netrc`` takes its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """A service at ``url``. token: by default ``DICESTUDY_TOKEN``. patience: seconds for an answer that takes long.

    Errors are those of the local functions, with their texts: InputError, DicestudyError.
    """

    def __init__(self, url: str, token: str | None = None, patience: float = 300.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(Fault(f"server {url}", "is no address of a service", "write it http://HOST:8000"))
        if parts.username is not None:
            raise InputError(Fault("server", "its address holds credentials", "set DICESTUDY_TOKEN instead"))
        self.url = url.rstrip("/")
        self.patience = patience
        self._session = requests.Session()
        self._session.auth = _Bearer(os.environ.get("DICESTUDY_TOKEN", "") if token is None else token)

    def launch(self, study: StudySpec | str | Path, retry_failed: bool = False, check: bool = False) -> dict[str, Any]:
        """Have a study run, given as loaded or as its file; comes back at once with what will run, and as what.

        check: say what it would run, and run nothing. See ``events`` for how it goes on.
        """
        text, file = _text_of(study)
        params = {name: "true" for name, given in (("retry_failed", retry_failed), ("check", check)) if given}
        headers = {"Content-Type": "application/yaml"}
        answer = self._ask("POST", "/studies", params, file, data=text.encode(), headers=headers)
        found: dict[str, Any] = answer.json()
        return found

    def plan(self, study: StudySpec | str | Path) -> dict[str, Any]:
        """What launching a study would run there, by what has ended there already; runs nothing."""
        return self.launch(study, check=True)

    def status(self, study: Study) -> dict[str, Any]:
        """Where a study stands."""
        return self._get(f"{_path(study)}")  # type: ignore[no-any-return]

    def studies(self) -> list[dict[str, Any]]:
        """Where all studies stand."""
        return self._pages("/studies", {})

    def best(
        self,
        study: Study,
        goal: str = "ignore",
        metric: str | None = None,
        where: str | None = None,
        top: int | None = 5,
        family: str | None = None,
        pareto: Sequence[str] | str | None = None,
    ) -> list[dict[str, Any]]:
        """The study's best cells, options as of ``study.best``; top: None for the first thousand."""
        front = pareto if pareto is None or isinstance(pareto, str) else ",".join(pareto)
        params = {"goal": goal, "metric": metric, "where": where, "top": PAGE if top is None else top}
        params |= {"family": family, "pareto": front or None}
        return self._get(f"{_path(study)}/best", params)  # type: ignore[no-any-return]

    def table(self, study: Study) -> list[dict[str, Any]]:
        """The paper's table 1 of the study."""
        return self._pages(f"{_path(study)}/table", {})

    def transition_map(self, study: Study) -> dict[str, Any]:
        """Where ignoring turns into learning empty."""
        return self._get(f"{_path(study)}/map")  # type: ignore[no-any-return]

    def trials(self, study: Study, where: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
        """The study's trials that are over."""
        return self._pages(f"{_path(study)}/trials", {"where": where, "state": state})

    def stop(self, study: Study) -> None:
        """Ask a running study to end. Raises: DicestudyError if it is not running."""
        self._ask("DELETE", f"{_path(study)}/run")

    def events(self, study: Study) -> Iterator[dict[str, Any]]:
        """The study's status, now and whenever it changes, until the study is over."""
        answer = self._ask("GET", f"{_path(study)}/events", stream=True)
        try:
            # Lines one by one: a block that waits to be full would hold the news back.
            for line in answer.iter_lines(chunk_size=1):
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))
        except requests.RequestException as error:
            raise DicestudyError(f"the server at {self.url} broke off: {type(error).__name__}; ask again") from None
        finally:
            answer.close()

    def _get(self, path: str, params: dict[str, Any] | None = None) -> Any:
        return self._ask("GET", path, params).json()

    def _pages(self, path: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self._ask("GET", path, {**params, "offset": len(found), "limit": PAGE})
            page = answer.json()
            found += page
            if not page or len(found) >= int(answer.headers.get("X-Total-Count", "0")):
                return found

    def _ask(
        self, method: str, path: str, params: dict[str, Any] | None = None, file: str = POSTED, **more: Any
    ) -> requests.Response:
        """An answer that is good. Raises: InputError or DicestudyError with the server's words."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                answer = self._session.request(
                    method,
                    self.url + path,
                    params=params,
                    timeout=(CONNECT_S, ANSWER_S),
                    # A redirect could carry the token elsewhere.
                    allow_redirects=False,
                    **more,
                )
            except requests.RequestException as error:
                raise DicestudyError(
                    f"no service answers at {self.url}: {type(error).__name__}; start it with dicestudy serve"
                ) from None
            if answer.status_code < 300:
                return answer
            pause = _pause(answer)
            if answer.status_code not in (429, 503) or method != "GET" or time.monotonic() + pause > deadline:
                raise self._error(answer, file)
            answer.close()
            time.sleep(pause)

    def _error(self, answer: requests.Response, file: str) -> DicestudyError:
        try:
            body = answer.json()
            detail, given = str(body["detail"]), body.get("faults", [])
            faults = [Fault(_renamed(entry["where"], file), entry["fault"], entry["remedy"]) for entry in given]
        except (ValueError, KeyError, TypeError, AttributeError):
            return DicestudyError(f"{self.url} answers {answer.status_code}, which no dicestudy service does")
        if answer.status_code in WRONG:
            return InputError(faults or Fault("", detail))
        if answer.status_code in (401, 403):
            return InputError(Fault(self.url, detail, "set DICESTUDY_TOKEN"))
        return DicestudyError("\n".join(map(str, faults)) or detail)


def _pause(answer: requests.Response) -> float:
    given = answer.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else 5.0


def _path(study: Study) -> str:
    name = study if isinstance(study, str) else study.name
    return f"/studies/{quote(name, safe='')}"


def _renamed(where: str, file: str) -> str:
    """A place in the posted file under the name that the file has here."""
    return file + where.removeprefix(POSTED) if where.startswith(POSTED) else where


def _text_of(study: StudySpec | str | Path) -> tuple[str, str]:
    """A study's text, and what errors call it."""
    # Here and not above: reading a study brings all that a study can be.
    from study.config.load import read_text

    if isinstance(study, str | Path):
        return read_text(study), str(study)
    fields = study.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), POSTED
