"""Names of metrics: one reversible spelling from the trial to MLflow and to the answers.

A name is ``<kind>.<class>`` or ``<kind>.<group>.<class>``. MLflow allows ASCII letters, digits, ``_ - . / :`` and
spaces in the names of metrics; a dot separates the parts. Letters, digits, ``_``, ``-`` and spaces of a group or class
stay as they are. Any run of other characters becomes ``:HEX-HEX:``, the code points in hexadecimal: ``MYO.ES`` is
spelled ``MYO:2e:ES``, and ``肿瘤`` is ``:80bf-7624:``.
"""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^A-Za-z0-9_ -]+")
_ESCAPED = re.compile(r":([0-9a-f]+(?:-[0-9a-f]+)*):")


def encode_name(name: str) -> str:
    """Spell a group or class as a part of a metric's name; plain names stay as they are."""
    return _OTHER.sub(lambda run: ":" + "-".join(f"{ord(character):x}" for character in run[0]) + ":", name)


def decode_name(part: str) -> str:
    """Return the group or class that ``encode_name`` spelled as ``part``."""
    return _ESCAPED.sub(lambda run: "".join(chr(int(code, 16)) for code in run[1].split("-")), part)


def metric_name(kind: str, *names: str) -> str:
    """Return ``<kind>.<name>…`` for a class, or for a group and a class, each as it is written in the study."""
    return ".".join((kind, *map(encode_name, names)))
