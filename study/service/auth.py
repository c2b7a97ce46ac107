"""Who may ask: bearer tokens with names and rights, of which only hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import Fault, InputError

RIGHTS = ("read", "write")
"""``write`` may launch and stop as well."""
FEWEST_CHARACTERS = 16
FORM = "NAME read|write TOKEN, where TOKEN is the token or sha256:HEX"
ENVIRONMENT = "DICESTUDY_TOKEN"
RELOAD_S = 1.0
"""Seconds between two looks at a file of tokens."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Token:
    """A token's holder. digest: SHA-256 of the token, 32 bytes."""

    name: str
    may_write: bool
    digest: bytes


@dataclass(frozen=True)
class Tokens:
    """All tokens that a service takes; none: it asks for none."""

    listed: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.listed)

    def holder(self, presented: str) -> Token | None:
        """Whose token this is, or None; takes as long for a wrong one as for a right one."""
        digest = hashlib.sha256(presented.encode()).digest()
        found = None
        for token in self.listed:
            # All are compared, also after a hit: the time tells nothing about which.
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


class TokenFile:
    """The tokens of a file, read anew within a second of its change; while the new text has faults the old ones hold.

    Raises: InputError as ``find_tokens``, when it is made.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._stamp = path, _stamp(path)
        self._found = find_tokens(path)
        self._looked = time.monotonic()

    @property
    def listed(self) -> tuple[Token, ...]:
        """All that hold now."""
        self._look()
        return self._found.listed

    def __bool__(self) -> bool:
        # A file without a token has a fault, so this never changes.
        return bool(self._found)

    def holder(self, presented: str) -> Token | None:
        """As of ``Tokens``."""
        self._look()
        return self._found.holder(presented)

    def _look(self) -> None:
        if time.monotonic() < self._looked + RELOAD_S:
            return
        self._looked = time.monotonic()
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._found = find_tokens(self._path)
        except InputError as error:
            log.error("the file of tokens has changed and is not taken: %s", error)
        else:
            log.info("the file of tokens has changed: %s", ", ".join(token.name for token in self._found.listed))


def _stamp(path: Path | None) -> tuple[int, ...]:
    """What changes with a file's text or mode; nothing for one that is not there."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        found = None
    return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def find_tokens(path: Path | None = None) -> Tokens:
    """The tokens of a file, and ``DICESTUDY_TOKEN``, which may write.

    Raises: InputError with every fault: a file that others can read, a line in another form, a token too short.
    """
    listed, faults = ([], []) if path is None else _read(path)
    if given := os.environ.get(ENVIRONMENT, ""):
        if fault := _weak(given):
            faults.append(Fault(ENVIRONMENT, fault, "make one with: openssl rand -hex 32"))
        else:
            listed.append(Token("environment", True, hashlib.sha256(given.encode()).digest()))
    if faults:
        raise InputError(faults)
    return Tokens(tuple(listed))


def _read(path: Path) -> tuple[list[Token], list[Fault]]:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            lines = file.read().splitlines()
    except OSError as error:
        return [], [Fault(str(path), f"cannot be read: {error.strerror}", "name a file with --tokens")]
    except UnicodeDecodeError:
        return [], [Fault(str(path), "is not UTF-8 text", f"write lines of {FORM}")]
    if mode & 0o077:
        return [], [Fault(str(path), f"can be read by others, its mode is {mode:o}", f"chmod 600 {path}")]
    listed: list[Token] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}:{number}"
        if len(words) != 3 or words[1] not in RIGHTS or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", words[0]):
            # What came is not repeated: it may hold the token.
            faults.append(Fault(where, f"expected {FORM}"))
        elif (digest := _digest(words[2])) is None:
            faults.append(Fault(where, _weak(words[2]) or "no SHA-256", "make one with: openssl rand -hex 32"))
        elif words[0] in (token.name for token in listed):
            faults.append(Fault(where, f"{words[0]} stands twice", "give each token a name of its own"))
        else:
            listed.append(Token(words[0], words[1] == "write", digest))
    if not listed and not faults:
        faults.append(Fault(str(path), "names no token", f"write lines of {FORM}"))
    return listed, faults


def _digest(written: str) -> bytes | None:
    """The hash that a line gives, or that of the token it gives; None if it is neither."""
    if written.startswith("sha256:"):
        text = written.removeprefix("sha256:")
        return bytes.fromhex(text) if re.fullmatch(r"[0-9a-fA-F]{64}", text) else None
    return None if _weak(written) else hashlib.sha256(written.encode()).digest()


def _weak(token: str) -> str:
    """Why a token cannot be used, or nothing."""
    if not re.fullmatch(r"[!-~]+", token):
        return "a token holds more than printable ASCII without blanks"
    if len(token) < FEWEST_CHARACTERS:
        return f"a token of {len(token)} characters can be guessed, expected at least {FEWEST_CHARACTERS}"
    return ""
