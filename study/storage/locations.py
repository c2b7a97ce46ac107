"""Where a study's records are: the tracking store and the storage, from arguments, environment or defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from study.storage.folders import Storage, is_writable

HOME = Path("dicestudy-data")
"""Default folder, under the working directory."""


def _default_store(storage: Path) -> str:
    """The SQLite file under the working directory; on the storage where that directory has none and takes none."""
    file = HOME / "mlflow.db"
    if not file.exists() and not is_writable(HOME):
        file = storage / "mlflow.db"
    return f"sqlite:///{file.resolve()}"


@dataclass(frozen=True)
class Places:
    """store: an MLflow tracking URI; storage: the shared folder.

    ``store_given``, ``storage_given``: whether somebody named it, or it is the default under the working directory.
    """

    store: str
    storage: Storage
    store_given: bool = True
    storage_given: bool = True

    @classmethod
    def find(cls, store: str | None = None, storage: str | Path | None = None) -> Places:
        """Arguments win over ``DICESTUDY_STORE`` and ``DICESTUDY_STORAGE``, these over the defaults."""
        root = storage or os.environ.get("DICESTUDY_STORAGE")
        uri = store or os.environ.get("DICESTUDY_STORE")
        # A shell leaves the ~ of --storage=~/x alone.
        folder = Path(root or HOME).expanduser()
        if uri and uri.startswith("sqlite:///~"):
            uri = f"sqlite:///{Path(uri.removeprefix('sqlite:///')).expanduser()}"
        return cls(uri or _default_store(folder), Storage(folder), bool(uri), bool(root))

    @property
    def artifacts(self) -> Path:
        """Where artifacts lie if the store is a bare database."""
        return self.storage.root / "artifacts"
