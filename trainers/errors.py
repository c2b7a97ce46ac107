"""Errors that a user can act on. Everything the project raises on purpose descends from one root."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DicestudyError(Exception):
    """Something went wrong that the user should read without a traceback.

    ``exit_code`` is what the command line returns: 1 failed, 2 wrong input.
    """

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input: where it stands, what came, what to do."""

    where: str
    fault: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.fault}" if self.where else self.fault
        return f"{text}; {self.remedy}" if self.remedy else text


class InputError(DicestudyError):
    """The input is wrong; carries every fault that was found, not only the first."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault] | Fault | str) -> None:
        if isinstance(faults, str):
            faults = Fault("", faults)
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Fault, ...]]]:
        # The default would rebuild it from the joined text and lose the faults on the way back from a worker.
        return type(self), (self.faults,)
