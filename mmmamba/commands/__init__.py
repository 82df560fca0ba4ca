"""The command line, `mmmamba COMMAND` or `python -m mmmamba`.

A module for each command, thin over the library; a folder where it has machinery of its own.
"""

from .main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
