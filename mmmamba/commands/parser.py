"""argparse with one line for wrong input, and "did you mean"."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from ..suggest import did_you_mean
from .neighbours import of_command, of_flag


class Parser(argparse.ArgumentParser):
    """Ends in one line and exit code 2 where arguments are wrong.

    Options are not abbreviated: what a short form means would change when an option is added.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def parse_known_args(self, args=None, namespace=None):
        namespace, unknown = super().parse_known_args(args, namespace)
        # Not left to the parser above this one, which does not know the options of the command.
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        # argparse would print its whole usage before the line that counts.
        self.exit(2, f"error: {message}{self._hint(message)} (see {self.prog} --help)\n")

    def _hint(self, message: str) -> str:
        # argparse keeps neither word nor choices in its error: they are read out of its message.
        unknown = re.match(r"unrecognized arguments: (-\S+)", message)
        if unknown:
            flag, known = unknown[1].partition("=")[0], self._option_string_actions
            return "." + (of_flag(flag, known) or did_you_mean(flag, known, 2))
        choice = re.search(r"invalid choice: '([^']*)'", message)
        if choice:
            known = [str(c) for action in self._actions for c in action.choices or ()]
            return "." + (of_command(choice[1], known) or did_you_mean(choice[1], known, 2))
        return ""
