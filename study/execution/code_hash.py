"""What code runs, as a hash: whether two machines, or two releases, would compute the same."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType


@lru_cache
def hash_of_code(*packages: ModuleType) -> str:
    """Content hash of all Python files of packages."""
    code = hashlib.sha256()
    for package in packages:
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            code.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return code.hexdigest()[:12]
