"""The connection to Ray: what it reads from the environment, whether a cluster answers, what it has."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from study.config.spec import ResourceSpec
from study.execution.engine import Node
from study.execution.resources import compare_resources, local_gpus
from trainers.errors import Fault, InputError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}
_OURS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths stay those of the driver
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard copies of what we record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the launch decides what a signal means
    # Never restored from: a trial finds its own checkpoint, and a study enumerates what is missing.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
}

SECONDS_TO_ANSWER = 10
SECONDS_FOR_NODES = 120
"""A node that is asked first loads Python and our packages, from a cold and shared disk perhaps."""
OWN_TOKEN = Path.home() / ".ray" / "auth_token"
"""Where Ray keeps the token that it makes."""
LOCAL_OBJECT_STORE = 256 * 2**20
"""Ray's shared memory [bytes] on this machine; the data is mapped from files, so little passes through it."""


def require_resources(resources: ResourceSpec, address: str | None) -> None:
    """See that a trial could be placed: Ray would wait for ever for what is not there.

    Raises: InputError if this machine lacks what a trial asks for, or nothing listens at ``address``.
    """
    if address is not None:
        if address != "auto":
            _require_listener(address)
        return
    compare_resources(resources, {"CPU": os.cpu_count() or 1, "GPU": local_gpus()}, "this machine")


def quiet_environment(stock_loggers: bool = False) -> None:
    """Set what Ray reads from the environment when it is imported or started; what the user has set stays."""
    for name, value in (_QUIET if stock_loggers else _QUIET | _OURS).items():
        os.environ.setdefault(name, value)


@contextmanager
def session(address: str | None) -> Iterator[None]:
    """A connection to Ray for as long as the trials run."""
    quiet_environment()
    if address is not None:
        require_token()
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_OBJECT_STORE, "_skip_env_hook": True}
        # Or a cluster that this shell happens to know of would get the trials.
        options["address"] = "local"
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, ValueError) as error:
        if "AuthenticationError" in str(error.__cause__):
            wanted = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file with it"
            raise InputError(Fault(f"address {address}", "the Ray cluster refuses our token", wanted)) from None
        raise _no_cluster(address, str(error).splitlines()[0]) from None
    _hide_own_token()
    # What goes wrong reaches the listener; its traceback would only tear the progress line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Ray itself would try an address where nothing listens for ten minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str | None, why: str) -> InputError:
    return InputError(
        Fault(
            f"address {address}", f"no Ray cluster answers: {why}", "give HOST:PORT of one started by ray start --head"
        )
    )


def ask_nodes(question: Callable[[str], Any]) -> Iterator[tuple[Node, Any]]:
    """Put a question to every living node; its answer, or in words why there is none."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = []
    for entry in ray.nodes():
        if entry["Alive"]:
            node = Node(entry["NodeID"], entry["NodeManagerAddress"], entry["Resources"].get("GPU", 0.0))
            # None of its processors: it is also asked while all of them are busy.
            there = NodeAffinitySchedulingStrategy(node.id, soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(_put).options(scheduling_strategy=there)
            asked.append((node, task.remote(question, node.id)))
    for node, answer in asked:
        try:
            yield node, ray.get(answer, timeout=SECONDS_FOR_NODES)
        except RayError as error:
            # The last line is the error itself, what stands above is where it happened.
            yield node, str(error).strip().splitlines()[-1] or type(error).__name__


def _put(question: Callable[[str], Any], node: str) -> Any:
    return question(node)


def require_token() -> None:
    """Have Ray use the authentication token that is there, before it is imported.

    Ray itself does so for a cluster that it starts, but not for one that it joins.

    Raises: InputError if others can read the file that ``RAY_AUTH_TOKEN_PATH`` names.
    """
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named and Path(named).exists() and Path(named).stat().st_mode & 0o077:
        raise InputError(Fault(named, "others can read the cluster's token", f"chmod 600 {named}"))
    _hide_own_token()
    if named or "RAY_AUTH_TOKEN" in os.environ or OWN_TOKEN.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _hide_own_token() -> None:
    """Ray writes the token of clusters that it starts so that all users of the machine can read it."""
    with suppress(OSError):
        if OWN_TOKEN.stat().st_mode & 0o077:
            OWN_TOKEN.chmod(0o600)
