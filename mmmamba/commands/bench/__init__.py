"""`mmmamba bench`: speed, memory and size of models beside one another and models of timm."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
