"""`mmmamba new`: writes a config for the user's own data."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
