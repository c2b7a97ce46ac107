"""Files in a source's layout, for what is made of them."""

from tests.trainers.data.conftest import tree

__all__ = ["tree"]
