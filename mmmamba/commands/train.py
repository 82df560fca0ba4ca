"""``mmmamba train``: what ``tools/train.py`` does."""

from ..engine.cli import add_train_arguments as add_arguments
from ..engine.cli import run_train as run

__all__ = ["add_arguments", "run"]
