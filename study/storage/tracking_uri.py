"""The address of a tracking store, which may hold a password: what of it may be shown, and what its users take it for.

SQLAlchemy and urllib3 each read an address in their own way, and a password that is not percent-encoded makes them
disagree. For what is shown, all between the scheme and the last ``@`` is the user's, whoever reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from trainers.errors import Fault, InputError

MASK = "***"
_SECRET_NAMES = r"[\w.-]*(?:pass|pwd|secret|token|credential|auth|key|sig)[\w.-]*"
_USER = re.compile(r"(?P<scheme>\b(?!sqlite:|file:)[A-Za-z][\w+.-]*:)//(?P<user>\S*)@")
_QUERY = re.compile(rf"(?P<name>[?&;]{_SECRET_NAMES}=)\S*", re.IGNORECASE)
_LEAST_PIECE = 3
"""Characters of a part of a password that is looked for by itself; a shorter one would be found in any sentence."""
_ENCODED = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", "[": "%5B", "]": "%5D"}


def mask_secrets(text: str) -> str:
    """The text with the user's password in every address in it, and every secret parameter, replaced by ``***``."""
    # Parameters first: an @ in one of their values is no end of a user.
    return _USER.sub(_without_secret, _QUERY.sub(lambda found: f"{found['name']}{MASK}", text))


def _without_secret(found: re.Match[str]) -> str:
    name, colon, _ = found["user"].partition(":")
    # A raw separator in the name: it may as well be a part of the password.
    if not colon:
        return found[0] if not set(name) & set(_ENCODED) else f"{found['scheme']}//{MASK}@"
    return f"{found['scheme']}//{name if not set(name) & set(_ENCODED) else MASK}:{MASK}@"


@dataclass(frozen=True, repr=False)
class TrackingUri:
    """An MLflow tracking URI; ``str`` and ``repr`` show it without its secrets, ``text`` is what is connected to."""

    text: str

    def __str__(self) -> str:
        return self.text if self.scheme in ("sqlite", "file") else mask_secrets(self.text)

    def __repr__(self) -> str:
        return f"TrackingUri({str(self)!r})"

    @property
    def scheme(self) -> str:
        """``sqlite``, ``postgresql+psycopg``, ``http``; empty where there is none."""
        found = re.match(r"([A-Za-z][\w+.-]*):", self.text)
        return found[1].lower() if found else ""

    @property
    def is_server(self) -> bool:
        """Whether it is an MLflow server's, and no database's."""
        return self.scheme in ("http", "https")

    @property
    def has_secret(self) -> bool:
        """Whether any of it must not be shown."""
        return str(self) != self.text

    @property
    def without_credentials(self) -> str:
        """The address without user, password and secret parameters, as a link may have it."""
        return _USER.sub(lambda found: f"{found['scheme']}//", _QUERY.sub("", self.text))

    def clean(self, text: str) -> str:
        """What somebody says of this store, without its secrets, also where a part of one was taken for a host."""
        text = mask_secrets(text.replace(self.text, str(self)))
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def _secrets(self) -> set[str]:
        if not self.has_secret:
            return set()
        user = _USER.match(self.text)
        raw = [user["user"].partition(":")[2]] if user else []
        raw += [found[0].partition("=")[2] for found in _QUERY.finditer(self.text)]
        whole = {form for secret in raw for form in (secret, unquote(secret))}
        pieces = {piece for secret in whole for piece in re.split(r"[@/?#:\[\]&]", secret)}
        return {text for text in whole | pieces if len(text) >= _LEAST_PIECE}

    def require_readable(self) -> None:
        """See that all who read the address take the same part for the password.

        Raises: InputError for a separator that is not percent-encoded.
        """
        user = _USER.match(self.text)
        # A database's address may have / ? # in a password; MLflow's parser takes no bracket, and nobody a second @.
        odd = "@/?#[]" if self.is_server else "@[]"
        found = [sign for sign in odd if user and sign in user["user"]]
        if found:
            signs = ", ".join(f"{_ENCODED[sign]} for {sign}" for sign in found)
            fault = f"its user name or password holds {' '.join(found)}, which separates parts of an address"
            raise InputError(Fault(str(self), fault, f"write {signs}"))
