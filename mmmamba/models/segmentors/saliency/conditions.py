"""The kinds of images that SUM tells apart, by number and by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmmamba.errors import UsageError
from mmmamba.suggest import did_you_mean

CONDITIONS = ("natural_mouse", "natural_eye", "ecommerce", "ui")
"""Natural images whose viewers moved a mouse (SALICON), or whose eyes were tracked (OSIE, CAT2000,
MIT1003); pictures of web shops (SalECI); user interfaces (UEyes). The place is the number in the
authors' weights.
"""


def condition_index(value: Any, names: Sequence[str] = CONDITIONS) -> int:
    """The number of a condition that is given by number or by name.

    Raises:
        UsageError: there is no such condition.
    """
    # True and False are numbers to Python, and no kinds of image.
    number = isinstance(value, int) and not isinstance(value, bool)
    if number and 0 <= value < len(names):
        return value
    if isinstance(value, str) and value in names:
        return list(names).index(value)
    listed = ", ".join(f"{i} {name!r}" for i, name in enumerate(names))
    raise UsageError(
        f"condition is {value!r}, wanted one of {listed}, by number or name."
        + (did_you_mean(value, names) if isinstance(value, str) else "")
    )
