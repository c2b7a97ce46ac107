"""What the operator of a service decides."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from study.service.auth import TokenFile, Tokens
from trainers.errors import Fault, InputError

MOST_BYTES = 256 * 1024
"""Of a request's body."""
MOST_TRIALS = 10_000
"""Of a study that is posted."""
PORT = 8000


@dataclass(frozen=True)
class Backends:
    """Where the workers find records, as every command does: None for the environment, or its default."""

    store: str | None = None
    storage: str | None = None
    address: str | None = None
    """Where posted studies run: None for this machine, ``http://host:8265`` for a Ray job."""
    data_roots: tuple[str, ...] = ()
    """Folders below which a posted study may name data; none: generated sources only."""


@dataclass(frozen=True)
class ServiceSettings:
    """host, port: where to listen; rate: requests of one client, such as ``6000/minute``."""

    host: str = "127.0.0.1"
    port: int = PORT
    tokens: Tokens | TokenFile = field(default_factory=Tokens)
    backends: Backends = Backends()
    rate: str = "6000/minute"

    def require(self) -> None:
        """See that the settings are safe together. Raises: InputError with every fault."""
        faults = [
            Fault(f"--data-root {root}", "is no folder", "name an existing one")
            for root in self.backends.data_roots
            if not Path(root).expanduser().is_dir()
        ]
        if not self.tokens and not is_loopback(self.host):
            faults.append(
                Fault(
                    f"--host {self.host}",
                    "without a token the service listens on the loopback only",
                    "set DICESTUDY_TOKEN or give --tokens FILE, or leave --host out",
                )
            )
        try:
            from limits import parse

            parse(self.rate)
        except ValueError:
            faults.append(Fault(f"--rate {self.rate}", "cannot be read", "write it such as 6000/minute"))
        if faults:
            raise InputError(faults)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a service at ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
