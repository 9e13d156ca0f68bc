"""The fixtures under test, as ``pytest_plugins`` brings them to other projects."""

from lmroute.testing.lmstudio import lmstudio, start_lmstudio

__all__ = ["lmstudio", "start_lmstudio"]
