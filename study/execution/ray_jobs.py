"""Ray jobs: a command that runs on a cluster's head, sent from a machine that need not be part of the cluster."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from study.execution.ray_cluster import SECONDS_TO_ANSWER, quiet_environment, require_token
from trainers.errors import DicestudyError, Fault, InputError

STUDY = "dicestudy.study"
"""Key of a job's metadata: the study that it launches."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
OPENING = "Running entrypoint for job "
PAUSE = 0.5
"""Seconds between two looks at a job."""


class JobServer:
    """The job server of a Ray cluster, ``http://host:8265``.

    Raises: InputError if none answers there, or refuses our token.
    """

    def __init__(self, address: str) -> None:
        quiet_environment()
        require_token()
        # Ray lets the shell's RAY_ADDRESS win over an address that is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        import requests
        from ray.job_submission import JobSubmissionClient

        self.address = address
        try:
            # Ray's client itself would wait for minutes.
            requests.get(f"{address.rstrip('/')}/api/version", timeout=SECONDS_TO_ANSWER)
            self._client = JobSubmissionClient(address)
        except requests.RequestException as error:
            raise InputError(_silence(address, type(error).__name__)) from None
        except (ConnectionError, RuntimeError) as error:
            raise InputError(_silence(address, str(error).splitlines()[0])) from None

    def submit(self, command: str, name: str, metadata: Mapping[str, str], files: Mapping[str, str]) -> str:
        """Run a shell command in a folder that holds ``files`` (text by name); gives the job's identity."""
        with tempfile.TemporaryDirectory(prefix="dicestudy-job-") as folder:
            for file, text in files.items():
                (Path(folder) / file).write_text(text)
            logging.disable(logging.INFO)  # Ray tells of each file that it packs
            try:
                job: str = self._client.submit_job(
                    entrypoint=command,
                    submission_id=f"dicestudy-{name}-{secrets.token_hex(4)}",
                    runtime_env={"working_dir": folder} if files else {},
                    metadata=dict(metadata),
                )
            finally:
                logging.disable(logging.NOTSET)
        return job

    def newest(self, study: str) -> Any | None:
        """The latest job that launched a study (Ray's ``JobDetails``), or None."""
        jobs = [job for job in self._client.list_jobs() if (job.metadata or {}).get(STUDY) == study]
        return max(jobs, key=lambda job: job.start_time or 0, default=None)

    def state(self, job: str) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        return str(self._client.get_job_status(job).value)

    def words(self, job: str) -> str:
        """What a job has printed so far."""
        words = str(self._client.get_job_logs(job))
        # What Ray says before it starts the command.
        return words.partition(OPENING)[2].partition("\n")[2] if OPENING in words else words

    def follow(self, job: str) -> Iterator[str]:
        """What a job prints, piece by piece, until it ends."""
        told = 0
        while True:
            ended = self.state(job) in ENDED
            words = self.words(job)
            if len(words) > told:
                yield words[told:]
                told = len(words)
            if ended:
                return
            time.sleep(PAUSE)

    def answer(self, command: str, name: str, patience: float = 120.0) -> tuple[bool, str]:
        """Run a short command; whether it succeeded, and what it printed.

        Raises: DicestudyError if it has not ended within ``patience`` [s].
        """
        job = self.submit(command, name, {}, {})
        deadline = time.monotonic() + patience
        while (state := self.state(job)) not in ENDED:
            if time.monotonic() > deadline:
                raise DicestudyError(f"job {job} at {self.address} has not ended after {patience:.0f} s")
            time.sleep(PAUSE)
        return state == "SUCCEEDED", self.words(job)


def _silence(address: str, why: str) -> Fault:
    if "uthent" in why or "401" in why or "403" in why:
        remedy = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it"
        return Fault(f"address {address}", "the job server refuses our token", remedy)
    return Fault(
        f"address {address}",
        f"no Ray job server answers: {why}",
        "give http://HOST:8265 of a head started by ray start --head --dashboard-host HOST",
    )
