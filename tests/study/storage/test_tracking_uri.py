"""An address's password is shown nowhere, however it is written and whoever misreads it."""

import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.storage.tracking_uri import TrackingUri, mask_secrets
from study.tracking.client import open_client, require_store
from trainers.errors import InputError

SECRETS = ["pa#ssw0rd", "pa/ssw0rd", "pa?ssw0rd", "pa@ssw0rd", "p[a]ssw0rd", "pa:ssw0rd", "pa%23ssw0rd", "ssw0rd"]
SHAPES = [
    "postgresql://u:{}@127.0.0.1:1/db",
    "postgresql+psycopg://u:{}@127.0.0.1:1/db?sslmode=disable",
    "mysql+pymysql://u:{}@127.0.0.1:1/db",
    "postgresql:///db?host=127.0.0.1&port=1&user=u&password={}",
    "http://u:{}@127.0.0.1:1",
    "https://u:{}@127.0.0.1:1/prefix",
    "http://127.0.0.1:1/?token={}",
    "ftp://u:{}@127.0.0.1:1",
    "postgresql://:{}@127.0.0.1:1/db",
]
ADDRESSES = [shape.format(secret) for shape in SHAPES for secret in SECRETS]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_message_about_a_store_has_no_piece_of_its_password(address, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InputError) as refused:
        open_client(address)
    out, err = capfd.readouterr()
    told = f"{refused.value} {refused.value.faults} {TrackingUri(address)!r} {out} {err}"
    assert "ssw0rd" not in told
    assert "ssw0rd" not in "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("study")
    )


@given(st.sampled_from(SHAPES[:5]), st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=3))
def test_whatever_the_password_is_it_is_masked(shape, password):
    uri = TrackingUri(shape.format(f"Zq7{password}"))
    assert uri.has_secret
    assert "Zq7" not in str(uri)
    assert "Zq7" not in repr(uri)
    assert "Zq7" not in uri.without_credentials
    assert "Zq7" not in mask_secrets(f"no answer from {uri.text} in time")
    assert f"Zq7{password}" not in uri.clean(f"could not translate host name Zq7{password}@h")


@pytest.mark.parametrize(
    "address", ["sqlite:////data/a@b.db", "sqlite:///key=1.db", "postgresql://u@host/db", "http://host:5000/a", ""]
)
def test_an_address_without_a_secret_is_shown_as_it_is(address):
    assert str(TrackingUri(address)) == TrackingUri(address).clean(address) == address
    assert not TrackingUri(address).has_secret


@pytest.mark.parametrize(
    ("address", "remedy"),
    [("http://u:pa#ss@h", "%23 for #"), ("postgresql://u:p@ss@h/d", "%40 for @"), ("postgresql://u:p[a@h/d", "%5B")],
)
def test_a_separator_that_readers_disagree_on_is_refused_with_its_encoding(address, remedy):
    with pytest.raises(InputError, match=remedy):
        require_store(address)


@pytest.mark.parametrize("address", ADDRESSES[::17])
def test_the_command_refuses_a_secret_among_its_options_and_shows_it_nowhere(address, tmp_path):
    for given_by in ({"arguments": ["--store", address]}, {"environment": {"DICESTUDY_STORE": address}}):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "study.cli",
                "table",
                "s",
                "--storage",
                str(tmp_path),
                *given_by.get("arguments", []),
            ],
            env=os.environ | given_by.get("environment", {}),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 2
        assert "ssw0rd" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in written if b"ssw0rd" in file.read_bytes()]
