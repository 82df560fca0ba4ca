"""`mmmamba doctor`: what is installed, what runs where, and whether it is right."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
