"""What to say to a name that is not there. Imports nothing, so that every layer may use it."""

from collections.abc import Iterable
from difflib import get_close_matches

RENAMED = {
    "dim": "embed_dims",
    "embed_dim": "embed_dims",
    "in_dim": "stem_dims",
    "directions": "routes",
}
"""What some backbones called an argument, here or in their authors' code, and what all call it."""


def did_you_mean(name: str, known: Iterable[str], most: int = 1, kind: str = "") -> str:
    """`" Did you mean 'x'?"` with at most `most` close names, each called a `kind`.

    An old name is told its new one instead. Empty where nothing is close.
    """
    known = list(known)
    # What was renamed may resemble nothing, or something else more closely than its new name.
    if RENAMED.get(name) in known:
        return f" {name!r} is called {RENAMED[name]!r}."
    close = get_close_matches(name, known, most)
    return f" Did you mean {' or '.join(f'{kind}{match!r}' for match in close)}?" if close else ""
