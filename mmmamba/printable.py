"""Names out of files as a terminal may show them. Imports nothing: every layer may use it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

LONGEST = 120
"""Characters of a name that are shown."""
SHOWN = 8


def printable(name: object, longest: int = LONGEST) -> str:
    """A name in one short line.

    What moves a cursor, changes colours or turns the direction of text is spelled out.
    """
    text = name if isinstance(name, str) else str(name)
    more = f"… ({len(text):,} characters)" if len(text) > longest else ""
    # Cut first: a name of megabytes costs no more than a short one.
    text = text[:longest]
    # `repr` spells out what cannot be printed; its quotes are no part of the name.
    return (text if text.isprintable() else repr(text)[1:-1]) + more


def printable_names(names: Collection[object], shown: int = SHOWN) -> str:
    """The first of them, and how many there are."""
    more = f" … ({len(names):,} in all)" if len(names) > shown else ""
    return ", ".join(map(printable, islice(names, shown))) + more
