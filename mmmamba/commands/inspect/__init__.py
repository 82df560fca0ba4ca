"""`mmmamba inspect`: pictures of what a model looks at, one file each."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
