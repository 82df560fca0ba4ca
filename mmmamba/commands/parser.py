"""argparse with one line for wrong input, and "did you mean"."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from ..suggest import did_you_mean


class Parser(argparse.ArgumentParser):
    """Wrong arguments end in one line and exit code 2. Options are not abbreviated: that breaks
    when one is added."""

    def __init__(self, **kwargs) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        # Told here, where the options of the command are known, not by the parser above it.
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}{self._hint(message)} (see {self.prog} --help)\n")

    def _hint(self, message: str) -> str:
        unknown = re.match(r"unrecognized arguments: (-\S+)", message)
        if unknown:
            return "." + did_you_mean(unknown[1].partition("=")[0], self._option_string_actions, 2)
        choice = re.search(r"invalid choice: '([^']*)'", message)
        if choice:
            known = [str(c) for action in self._actions for c in action.choices or ()]
            return "." + did_you_mean(choice[1], known, 2)
        return ""
