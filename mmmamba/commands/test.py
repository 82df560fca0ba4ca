"""``mmmamba test``: what ``tools/test.py`` does."""

from ..engine.cli import add_test_arguments as add_arguments
from ..engine.cli import run_test as run

__all__ = ["add_arguments", "run"]
