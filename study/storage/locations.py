"""Where a study's records are: the tracking store and the storage, from arguments, environment or defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from study.storage.folders import Storage

HOME = Path("dicestudy-data")
"""Default folder, under the working directory."""


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
        return cls(
            uri or f"sqlite:///{(HOME / 'mlflow.db').resolve()}", Storage(Path(root or HOME)), bool(uri), bool(root)
        )

    @property
    def artifacts(self) -> Path:
        """Where artifacts lie if the store is a bare database."""
        return self.storage.root / "artifacts"
