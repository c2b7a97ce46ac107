"""The command ``dicestudy``."""

from study.cli.main import main

__all__ = ["main"]
