"""The command line, ``mmmamba COMMAND`` or ``python -m mmmamba``: a module for each command, thin over the library."""

from .main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
