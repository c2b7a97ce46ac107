"""The service against its own description, by Schemathesis: all checks on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import WRITER

SECONDS = 300


@pytest.mark.engine
def test_every_answer_is_one_that_the_description_names(served, study_text, tmp_path):
    (tmp_path / "study.yaml").write_text(study_text)
    headers = {"Authorization": f"Bearer {WRITER}"}
    for page in ("best", "table", "map", "trials"):  # so that none is told to come again
        while requests.get(f"{served.address}/studies/small/{page}", headers=headers, timeout=60).status_code == 503:
            pass
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.study.described_service",
        "STUDY_FILE": str(tmp_path / "study.yaml"),
        "PYTHONPATH": str(Path(__file__).parent.parent.parent),
    }
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{served.address}/openapi.json"),
        *("--header", f"Authorization: Bearer {WRITER}", "--checks", "all"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "10"),
        *("--seed", "1", "--generation-database", "none"),
        *("--request-timeout", "60", "--max-response-time", "60"),
        "--no-color",
    ]
    found = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "Tested: 11" in found.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in found.stdout
