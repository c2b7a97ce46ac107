"""The service as its users have it: a process, asked over HTTP."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
import requests

from study.commands.answers import best, table, transition_map, trials
from study.service.openapi import EXAMPLE_FILE
from tests.conftest import READER, WRITER
from tests.services import dicestudy_service

YAML = {"Content-Type": "application/yaml"}


def ask(served, path, method="GET", token=READER, **more):
    headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
    return requests.request(method, served.address + path, headers=headers, timeout=60, **more)


def answer(served, path, **more):
    while (found := ask(served, path, **more)).status_code == 503:
        time.sleep(1)
    assert found.status_code == 200, found.text
    return found


def test_answers_are_those_of_the_local_functions(served, finished):
    assert answer(served, "/studies/small/best?goal=dice&top=3").json() == best("small", "dice", top=3, places=finished)
    where = {"goal": "dice", "where": "eps>1 and phi=='I'"}
    assert answer(served, "/studies/small/best", params=where).json() == best("small", **where, places=finished)
    assert answer(served, "/studies/small/table").json() == table("small", finished)
    assert answer(served, "/studies/small/map").json() == transition_map("small", finished)
    assert answer(served, "/studies/small/trials").json() == trials("small", places=finished)
    status = answer(served, "/studies/small").json()
    assert (status["state"], status["trials"]["done"]) == ("done", 8)
    assert answer(served, "/studies").json() == [status]


def test_pages_join_to_the_whole(served):
    whole = answer(served, "/studies/small/trials").json()
    first = answer(served, "/studies/small/trials?limit=5&where=batch_size==2")
    assert first.headers["X-Total-Count"] == "8"
    following = first.headers["Link"].split(">")[0].removeprefix("<")
    second = answer(served, following)
    assert first.json() + second.json() == whole
    assert "Link" not in second.headers
    partial = answer(served, "/studies/small/trials?state=DONE&where=labeling=='partial'").json()
    assert {trial["params"]["labeling"] for trial in partial} == {"partial"}
    assert len(partial) == 4


def test_an_answer_says_its_age_and_is_not_sent_twice(served):
    first = answer(served, "/studies/small/map")
    assert int(first.headers["Age"]) >= 0
    again = ask(served, "/studies/small/map", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_errors_have_the_words_of_the_command_line(served, finished):
    problem = answer_of(ask(served, "/studies/nosuch"), 404)
    assert problem["detail"].startswith("nosuch: no such study on this storage, known: small; launch it first")
    assert problem["faults"][0]["remedy"].startswith("launch it first")
    assert answer_of(ask(served, "/studies/nosuch/best"), 404)["detail"].startswith("nosuch: no such study in this")
    assert answer_of(ask(served, "/studies/small/best?goal=x"), 422)["detail"] == (
        "unknown goal 'x', known: ignore, empty, dice"
    )
    assert "did you mean 'where'?" in answer_of(ask(served, "/studies/small/best?wher=x"), 422)["detail"]
    assert "given twice" in answer_of(ask(served, "/studies/small/best?top=1&top=2"), 422)["detail"]
    assert "no such page" in answer_of(ask(served, "/nothing"), 404)["detail"]
    assert "only columns" in answer_of(ask(served, "/studies/small/best?where=eps>f()"), 422)["detail"]
    stop = ask(served, "/studies/small/run", "DELETE", WRITER)
    assert answer_of(stop, 409)["detail"] == "study small is not running on this storage"


def answer_of(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    return problem


def post(served, text, token=WRITER, query="?check=true", **more):
    return ask(served, f"/studies{query}", "POST", token, data=text, headers=YAML | more.pop("headers", {}), **more)


def test_a_posted_study_is_checked_with_every_fault_at_once(served, study_text):
    good = post(served, study_text)
    assert good.status_code == 200, good.text
    assert {name: good.json()[name] for name in ("study", "trials", "done", "to_run")} == {
        "study": "small",
        "trials": 8,
        "done": 8,
        "to_run": 0,
    }
    assert post(served, EXAMPLE_FILE).json()["to_run"] == 8
    bad = study_text.replace("network: tiny", "netwrk: tiny").replace("epochs: 2", "epochs: 0")
    problem = answer_of(post(served, bad), 422)
    assert [fault["where"] for fault in problem["faults"]] == [
        "study.yaml:5: trial.epochs",
        "study.yaml:5: trial.netwrk",
    ]
    assert "did you mean 'network'?" in problem["detail"]
    assert answer_of(post(served, study_text, READER), 403)
    assert answer_of(post(served, b"\xff\xfe"), 422)["detail"] == "study.yaml: is not UTF-8 text; save it as UTF-8"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: small", "name: ../../etc/cron.d/x"), "name"),
        (("name: small", 'name: "small\\r\\nX-Injected: 1"'), "name"),
        (("source: phantom, train: 8, test: 6", "source: acdc, root: /etc"), "'/etc' is not below"),
        (("source: phantom, train: 8, test: 6", "source: acdc, root: ../../../etc"), "is not below"),
        (("train: 8", "train: 100000000"), "cases"),
        (("epochs: 2", f"epochs: {'1' * 5000}"), "not readable as YAML"),
        (("lr: 5.0e-3", "lr: 2020-99-99"), "study.yaml"),
        (("name: small", "name: ["), "not readable as YAML"),
    ],
)
def test_a_hostile_study_is_refused(change, says, served, study_text):
    assert says in answer_of(post(served, study_text.replace(*change)), 422)["detail"]


def test_long_bodies_are_refused_within_a_second_and_take_no_memory(served):
    process = psutil.Process(served.process.pid)
    before = process.memory_info().rss
    begun = time.monotonic()
    assert raw_post(served, f"Content-Length: {100 * 2**20}", b"x" * 2**16, 1600) == 413
    assert time.monotonic() - begun < 1
    begun = time.monotonic()
    chunk = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    assert raw_post(served, "Transfer-Encoding: chunked", chunk, 1600) == 413
    assert time.monotonic() - begun < 1
    assert process.memory_info().rss - before < 20 * 2**20


def raw_post(served, header, piece, times):
    """Send a body piece by piece until the service has had enough; the status of its answer."""
    port = int(served.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST /studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {WRITER}\r\n{header}\r\n"
        connection.sendall(f"{head}Content-Type: application/yaml\r\n\r\n".encode())
        try:
            for _ in range(times):
                connection.sendall(piece)
        except OSError:
            pass  # it hung up on us
        try:
            return int(connection.recv(1000).split()[1])
        except (OSError, IndexError):
            return None


@pytest.mark.parametrize(
    "path",
    [
        "/studies/..%2f..%2fetc",
        "/studies/%2e%2e",
        "/studies/../../etc/passwd",
        "/docs/..%2f__init__.py",
        "/studies/a%00b/best",
        "/studies/x%0d%0aSet-Cookie:a=b",
    ],
)
def test_paths_that_lead_elsewhere_lead_nowhere(path, served):
    session = requests.Session()
    request = requests.Request("GET", served.address + "/x", headers={"Authorization": f"Bearer {READER}"}).prepare()
    request.url = served.address + path
    found = session.send(request, timeout=10)
    assert found.status_code in (404, 422)
    assert "Set-Cookie" not in found.headers
    assert "root:" not in found.text


def test_the_log_says_who_asked_and_no_token(served):
    ask(served, "/studies/small?token=abc", headers={"X-Other": "1"})
    requests.get(f"{served.address}/studies", headers={"Authorization": "Bearer not-a-token-of-ours"}, timeout=10)
    assert "reading GET /studies/small 422" in served.log
    assert "- GET /studies 401" in served.log
    for secret in (READER, WRITER, "not-a-token-of-ours", "Bearer"):
        assert secret not in served.log


def test_events_of_a_study_that_is_over_end_with_its_status(served):
    found = ask(served, "/studies/small/events")
    assert found.headers["content-type"].startswith("text/event-stream")
    lines = found.text.splitlines()
    assert lines[:2] == ["id: 1", "event: status"]
    assert json.loads(lines[2].removeprefix("data: "))["state"] == "done"
    assert answer_of(ask(served, "/studies/nosuch/events"), 404)


def test_the_page_of_the_description_needs_no_other_site(served):
    page = requests.get(f"{served.address}/docs", timeout=10).text
    assert "http://" not in page
    assert "https://" not in page
    for part in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert part in page or part == "start.js"
        assert requests.get(f"{served.address}/docs/{part}", timeout=10).status_code == 200
    described = requests.get(f"{served.address}/openapi.json", timeout=10).json()
    assert set(described["paths"]) >= {
        *("/studies", "/studies/{name}", "/studies/{name}/best", "/studies/{name}/table", "/studies/{name}/map"),
        *("/studies/{name}/trials", "/studies/{name}/run", "/healthz"),
    }
    operation = described["paths"]["/studies"]["post"]
    assert operation["security"] == [{"token": []}]
    assert operation["requestBody"]["content"]["application/yaml"]["examples"]


def test_the_service_imports_neither_torch_nor_ray_nor_mlflow_nor_scipy():
    import subprocess
    import sys

    code = (
        "import sys; from study.service.app import make_app; from study.service.settings import ServiceSettings;"
        "make_app(ServiceSettings());"
        "print([n for n in ('torch', 'ray', 'mlflow', 'pandas', 'scipy', 'matplotlib', 'flask') if n in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@contextmanager
def store_that_hangs():
    """Takes connections and never says a word."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take():
            while True:
                try:
                    taken.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in taken:
                connection.close()


def test_a_store_that_hangs_holds_up_only_who_asks_for_it(finished, tmp_path):
    with (
        store_that_hangs() as store,
        dicestudy_service(store, finished.storage.root, tmp_path / "log") as service,
        ThreadPoolExecutor(8) as pool,
    ):
        ask(service, "/studies/small")  # its worker starts
        waiting = [pool.submit(ask, service, f"/studies/small/{name}") for name in ("best", "map", "table", "trials")]
        time.sleep(1)
        for path in ("/healthz", "/studies/small", "/openapi.json"):
            begun = time.monotonic()
            assert ask(service, path).status_code == 200
            assert time.monotonic() - begun < 2
        ready = ask(service, "/readyz")
        assert ready.status_code == 503
        assert ready.json()["store"] == {"ok": False, "fault": "does not answer: ReadTimeout"}
        assert ready.json()["storage"]["ok"]
        for found in waiting:
            assert answer_of(found.result(), 503)
            assert int(found.result().headers["Retry-After"]) > 0


def test_a_service_that_would_not_be_safe_does_not_start(tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "study.cli", "serve", "--host", "0.0.0.0"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 2
    assert "without a token the service listens on the loopback only; set DICESTUDY_TOKEN" in found.stderr
