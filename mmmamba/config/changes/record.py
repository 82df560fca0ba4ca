"""What flags change in a config, told a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LONGEST = 100
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class _Change:
    flag: str
    section: str
    place: str
    """Below the section, with a dot in front."""
    old: str
    new: str


class Changes:
    """Sets values in a config and keeps what they were."""

    def __init__(self) -> None:
        self._said: list[_Change | str] = []

    def set(self, flag: str, node: Any, key: str | int, value: Any, place: str) -> None:
        """Set `node[key]`, which is told where it was another.

        Args:
            flag: why, such as `--epochs 3`.
            place: what the config calls the node.
        """
        nothing = object()
        old = node.get(key, nothing) if isinstance(node, dict) else node[key]
        if old is not nothing and old == value:
            return
        node[key] = value
        section, dot, below = f"{place}.{key}".lstrip(".").partition(".")
        shown = "not set" if old is nothing else _shown(old)
        self._said.append(_Change(flag, section, dot + below, shown, _shown(value)))

    def say(self, line: str) -> None:
        """A line beside those of values."""
        self._said.append(line)

    def lines(self) -> list[str]:
        """What was changed, in the order of the changes.

        What is the same in several sections, such as those of validation and testing, is one line.
        """
        sections: dict[Any, list[str]] = {}
        for said in self._said:
            if isinstance(said, str):
                sections[said] = []
            else:
                key = (said.flag, said.place, said.old, said.new)
                sections.setdefault(key, []).append(said.section)
        lines = []
        for key, names in sections.items():
            if isinstance(key, str):
                lines.append(key)
            else:
                flag, place, old, new = key
                where = ", ".join(f"{name}{place}" for name in dict.fromkeys(names))
                lines.append(f"{flag}: {where} = {new}, was {old}")
        return lines


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
