"""What the tests of histories with power cuts share."""

from tests.power.conftest import built, library

__all__ = ["built", "library"]
