"""`mmmamba export`: a trained model as a file that runs without mmmamba, proven by numbers."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
