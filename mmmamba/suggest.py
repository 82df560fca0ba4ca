"""What to say to a name that is not there. Imports nothing, so that every layer may use it."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str], most: int = 1, kind: str = "") -> str:
    """`" Did you mean 'x'?"` with the closest names, empty where none is close.

    Args:
        most: names at most.
        kind: what each is called, before its name.
    """
    close = get_close_matches(name, list(known), most)
    return f" Did you mean {' or '.join(f'{kind}{match!r}' for match in close)}?" if close else ""
