"""`mmmamba bench`: speed, memory and size, beside models of timm."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
