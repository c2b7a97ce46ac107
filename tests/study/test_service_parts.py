"""The service's parts that need no server: tokens, the upload_limits for posted files, the door, the kept answers."""

import asyncio
import hashlib
import itertools
import time
import typing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from analysis.results.ranking import GOALS
from study.commands.registry import GOAL_NAMES
from study.config.axis import RANGE
from study.config.load import parse_study
from study.config.spec import StudySpec
from study.service import answer_routes
from study.service import auth as tokens
from study.service import upload_limits as upload_limits
from study.service.answer_cache import AnswerCache
from study.service.app import make_app
from study.service.auth import Tokens, find_tokens
from study.service.problem_details import Problem
from study.service.settings import MOST_BYTES, Backends, ServiceSettings
from study.service.upload_limits import check_upload, count_trials
from study.service.worker_pool import Reply
from trainers.data.sources.registry import SOURCES
from trainers.errors import InputError

READER, WRITER = "r" * 20, "w" * 20


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch):
    monkeypatch.delenv("DICESTUDY_TOKEN", raising=False)


def tokens_of(folder, text, mode=0o600):
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return find_tokens(path)


def both(folder):
    return tokens_of(folder, f"reading read {READER}\nwriting write {WRITER}\n")


def test_tokens_have_names_and_rights_and_may_stand_as_hashes(tmp_path):
    digest = hashlib.sha256(b"a token that only its holder has").hexdigest()
    found = tokens_of(tmp_path, f"# comment\n\nann write {WRITER}\nbob read sha256:{digest}\n")
    assert (found.holder(WRITER).name, found.holder(WRITER).may_write) == ("ann", True)
    assert found.holder("a token that only its holder has").may_write is False
    assert found.holder(digest) is None
    assert found.holder("") is None
    assert WRITER not in repr(found)


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (f"ann write {WRITER}", 0o640, "chmod 600"),
        ("ann write short", 0o600, "can be guessed"),
        (f"ann admin {WRITER}", 0o600, "NAME read|write TOKEN"),
        (f"ann write {WRITER}\nann read {READER}", 0o600, "stands twice"),
        ("ann write sha256:xyz", 0o600, "sha256"),
        ("# nobody", 0o600, "names no token"),
    ],
)
def test_a_token_file_that_is_not_safe_is_refused_without_saying_a_token(text, mode, says, tmp_path):
    with pytest.raises(InputError, match="tokens") as error:
        tokens_of(tmp_path, text, mode)
    assert says in str(error.value) or says == "sha256"
    assert WRITER not in str(error.value)


def test_a_changed_file_of_tokens_holds_at_once_and_a_faulty_one_not_at_all(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tokens, "RELOAD_S", 0.0)
    path = tmp_path / "tokens"
    tokens_of(tmp_path, f"ann write {WRITER}\n")
    with door(ServiceSettings(tokens=tokens.TokenFile(path))) as client:

        def asked(token):
            return client.get("/studies", headers={"Authorization": f"Bearer {token}"}).status_code

        assert (asked(WRITER), asked(READER)) == (200, 401)
        both(tmp_path)
        assert (asked(WRITER), asked(READER)) == (200, 200)
        path.write_text(f"reading read {READER}\n")
        assert (asked(WRITER), asked(READER)) == (401, 200)
        for fault in (f"reading read {READER}\nann write short\n", ""):
            path.write_text(fault)
            assert (asked(WRITER), asked(READER)) == (401, 200)
        path.write_text(f"ann write {WRITER}\n")
        path.chmod(0o644)  # others may have read it
        assert (asked(WRITER), asked(READER)) == (401, 200)
        path.unlink()
        assert (asked(WRITER), asked(READER)) == (401, 200)
    assert "can be guessed" in caplog.text
    assert "names no token" in caplog.text
    assert "chmod 600" in caplog.text
    assert "cannot be read" in caplog.text
    assert WRITER not in caplog.text


def test_without_a_token_only_the_loopback_is_served(tmp_path):
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        ServiceSettings(host=host).require()
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(InputError, match="DICESTUDY_TOKEN"):
            ServiceSettings(host=host).require()
        ServiceSettings(host=host, tokens=both(tmp_path)).require()


def test_every_fault_of_the_settings_is_told_at_once():
    with pytest.raises(InputError) as error:
        ServiceSettings("0.0.0.0", backends=Backends(data_roots=("/no/such",)), rate="fast").require()
    assert len(error.value.faults) == 3


def test_what_the_service_repeats_of_other_packages_agrees_with_them():
    assert tuple(GOALS) == GOAL_NAMES
    assert upload_limits.RANGE == RANGE
    pattern = StudySpec.model_fields["name"].metadata[0].pattern
    assert pattern == answer_routes.NAME_PATTERN
    paths = {
        name
        for source in SOURCES.values()
        for name, field in source.model_fields.items()
        if Path in (field.annotation, *typing.get_args(field.annotation))
    }
    assert paths == set(upload_limits.PATHS)


def test_trials_are_counted_without_making_them(study_text):
    import yaml

    from study.config.search_space import enumerate_trials

    study = parse_study(study_text)
    assert count_trials(yaml.safe_load(study_text)) == len(enumerate_trials(study, lambda data: data.key())) == 8
    many = study_text.replace("[1.0e-7, v_hat]", "{from: 1.0e-3, to: 1.0, points: 7}") + "seeds: 3\nfolds: 2\n"
    assert count_trials(yaml.safe_load(many)) == 2 * 7 * 2 * 3 * 2


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases"),
        ("[" * 100_000, "levels"),
        ("- x\n" * 50_000, "values"),
        ("search: {space: {eps: {from: 1, to: 2, points: 1000000000}}}", "1,000,000,000 trials"),
        ("seeds: 99999999\nsearch: {space: {phi: [I, BI]}}", "199,999,998 trials"),
        ("data: {source: acdc, root: /etc}", "'/etc' is not below"),
        ("data: {source: acdc, root: ROOT/../..}", "is not below"),
        ("data: {source: acdc, root: ~root}", "is not below"),
        ("data: {source: brats, root: ROOT, grades: ROOT/../../etc/passwd}", "data.grades"),
        ("splits: /etc/shadow", "splits"),
        ("search: {space: {data.root: [ROOT, /etc]}}", "search.space.data.root"),
        ("search: {space: [{phi: I}, {data.root: /proc/self}]}", "search.space.data.root"),
        ('splits: "ROOT/a\\0b"', "splits"),
    ],
)
def test_a_hostile_file_is_refused_at_once_and_builds_nothing(text, says, tmp_path):
    begun = time.monotonic()
    with pytest.raises(InputError, match=says):
        check_upload(text.replace("ROOT", str(tmp_path)), (str(tmp_path),))
    assert time.monotonic() - begun < 1


def test_files_of_people_pass_the_sieve(study_text, tmp_path):
    check_upload(study_text, ())
    check_upload("base: &b {phi: I}\nsearch: {space: *b}", ())
    check_upload(f"data: {{source: brats, root: {tmp_path}/BraTS2018}}", (str(tmp_path),))
    check_upload("not: [closed", ())  # its reader says where


def test_a_link_that_leads_out_of_the_data_is_not_followed(tmp_path, study_text):
    from study.service.submit_task import read

    root = tmp_path / "data"
    root.mkdir()
    (root / "way").symlink_to("/etc")
    text = study_text.replace("{source: phantom, train: 8, test: 6}", f"{{source: acdc, root: {root}/way}}")
    text = text.replace("group: B, classes: [tumor]", "group: ES, classes: [LV]")
    with pytest.raises(InputError, match="is not below"):
        read(text, (str(root),))


def test_a_generated_source_has_a_size_limit(study_text):
    from study.service.submit_task import read

    with pytest.raises(InputError, match="cases, expected at most"):
        read(study_text.replace("train: 8", "train: 1000000"), ())


def door(settings):
    return TestClient(make_app(settings), base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def test_who_asks_without_a_token_with_a_wrong_one_or_to_write_with_a_readers_is_refused(tmp_path, caplog):
    caplog.set_level("INFO", "dicestudy.service")
    with door(ServiceSettings(tokens=both(tmp_path))) as client:
        assert client.get("/healthz").status_code == 200
        none, wrong = client.get("/studies"), client.get("/studies", headers={"Authorization": f"Bearer x{WRITER}"})
        assert (none.status_code, wrong.status_code) == (401, 401)
        assert none.headers["WWW-Authenticate"].startswith("Bearer")
        assert none.headers["content-type"] == "application/problem+json"
        for header in (WRITER, f"Basic {WRITER}", f"bearer{WRITER}", "Bearer", f"Bearer {WRITER} {WRITER}"):
            assert client.get("/studies", headers={"Authorization": header}).status_code == 401
        reader = {"Authorization": f"Bearer {READER}"}
        for method, path in (("POST", "/studies"), ("DELETE", "/studies/small/run"), ("PUT", "/nothing")):
            assert client.request(method, path, headers=reader).status_code == 403
        assert client.get("/nothing", headers=reader).status_code == 404
    assert "reading GET /nothing 404" in caplog.text
    assert READER not in caplog.text
    assert WRITER not in caplog.text


def test_without_tokens_no_other_sites_page_may_ask():
    with door(ServiceSettings()) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"Host": "evil.example:8000"}).status_code == 421
        assert client.get("/healthz", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/healthz", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
        # What a form of another site could send without asking first.
        assert client.post("/studies", content=b"name: x", headers={"Content-Type": "text/plain"}).status_code == 415


def test_one_client_has_a_rate_and_another_its_own(tmp_path):
    with door(ServiceSettings(tokens=both(tmp_path), rate="3/minute")) as client:
        first, other = ({"Authorization": f"Bearer {token}"} for token in (READER, WRITER))
        codes = [client.get("/nothing", headers=first).status_code for _ in range(5)]
        assert codes == [404, 404, 404, 429, 429]
        late = client.get("/nothing", headers=first)
        assert int(late.headers["Retry-After"]) >= 1
        assert client.get("/nothing", headers=other).status_code == 404


def test_guessing_is_slowed_and_keeps_nobody_with_a_token_out(tmp_path):
    with door(ServiceSettings(tokens=both(tmp_path))) as client:
        codes = [client.get("/nothing", headers={"Authorization": f"Bearer {n:020}"}).status_code for n in range(40)]
        assert codes[0] == 401
        assert codes[-1] == 429
        assert client.get("/nothing", headers={"Authorization": f"Bearer {READER}"}).status_code == 404


def test_a_log_has_one_line_a_request_whatever_the_path(caplog):
    caplog.set_level("INFO", "dicestudy.service")
    with door(ServiceSettings()) as client:
        client.get("/x%0d%0a2026-01-01 root GET /fake")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "dicestudy.service"]
    assert "\n" not in line
    assert "%0d%0a" in line


def test_a_method_that_is_not_answered_is_told_which_are():
    with door(ServiceSettings()) as client:
        answer = client.put("/studies")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, POST"
        assert answer.json()["status"] == 405


class Worker:
    """Answers with how often it was asked, after a while."""

    def __init__(self, seconds=0.0, kind="done"):
        self.seconds, self.kind, self.asked = seconds, kind, 0

    async def ask(self, task, study, arguments, patience):
        self.asked += 1
        number = self.asked
        await asyncio.sleep(self.seconds)
        return Reply({"kind": self.kind, "version": str(number), "seconds": 0.0}, str(number).encode())


def test_many_who_ask_the_same_share_one_look_and_then_the_kept_answer():
    async def ask():
        worker = Worker(0.05)
        cache = AnswerCache({"store": worker})
        first = await asyncio.gather(*(cache.ask("map", "small") for _ in range(20)))
        again = await cache.ask("map", "small")
        return worker.asked, {answer.body for answer in (*first, again)}

    assert asyncio.run(ask()) == (1, {b"1"})


def test_an_old_answer_is_given_at_once_while_a_newer_one_is_found(monkeypatch):
    async def ask():
        worker = Worker()
        cache = AnswerCache({"store": worker})
        kept = await cache.ask("map", "small")
        kept.looked -= 10
        worker.seconds = 0.2
        begun = time.monotonic()
        old = await cache.ask("map", "small")
        took = time.monotonic() - begun
        await asyncio.sleep(0.3)
        return took, old.body, (await cache.ask("map", "small")).body

    took, old, new = asyncio.run(ask())
    assert took < 0.1
    assert (old, new) == (b"1", b"2")


def test_an_answer_outlives_a_store_that_goes_away_and_not_a_study_that_does():
    async def ask(kind):
        worker = Worker()
        cache = AnswerCache({"store": worker})
        kept = await cache.ask("map", "small")
        kept.looked -= 10
        kept.verified -= 1000
        worker.kind = kind
        worker.ask = refuse(kind)
        return (await cache.ask("map", "small")).body

    def refuse(kind):
        async def ask(*_):
            return Reply({"kind": kind}, b'[{"where": "small", "fault": "is gone", "remedy": ""}]')

        return ask

    assert asyncio.run(ask("silent")) == b"1"
    with pytest.raises(Problem, match="is gone"):
        asyncio.run(ask("unknown"))


def test_a_body_that_says_it_is_long_and_one_that_does_not_are_both_refused():
    with door(ServiceSettings()) as client:
        headers = {"Content-Type": "application/yaml"}
        assert client.post("/studies", content=b"x" * (MOST_BYTES + 1), headers=headers).status_code == 413
        pieces = (b"x" * 1024 for _ in range(MOST_BYTES // 1024 + 2))
        assert client.post("/studies", content=pieces, headers=headers).status_code == 413


def test_no_tokens_is_no_tokens():
    assert not Tokens()
    assert not find_tokens()
