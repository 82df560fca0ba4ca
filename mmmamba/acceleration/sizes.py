"""Which sizes of images are worth a recording, and which are let go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from .captured import Captured
from .recording import Measured

AUTO_SIZES = 64
"""The most sizes that are held at a time where nobody says how many."""
RARELY = 4
"""The size that was used longest ago gives way to a new one, if since then so many times as many
passes have gone by as sizes are held."""


@dataclass
class _Seen:
    """What is known of a size."""

    times: int = 0
    measured: Measured | None = None
    refused: bool = False


class Sizes:
    """The sizes of one model in one mode, training or prediction.

    Args:
        most: how many are held at a time.
        careful: leave sizes alone that keep the device busy as they are, and let sizes that come
            rarely go for others.
    """

    def __init__(self, most: int, careful: bool):
        self.most, self.careful = most, careful
        self.captured: OrderedDict[Hashable, Captured] = OrderedDict()
        self._used: dict[Hashable, int] = {}
        self._seen: dict[Hashable, _Seen] = {}
        self._passes = 0

    def find(self, key: Hashable) -> Captured | None:
        """The recording of a size, which now has been used; None without one."""
        self._passes += 1
        found = self.captured.get(key)
        if found is not None:
            self.captured.move_to_end(key)
            self._used[key] = self._passes
        return found

    def wants(self, key: Hashable) -> bool:
        """Whether a size is to be recorded now: it came before, and the device waited then."""
        seen = self._seen.setdefault(key, _Seen())
        seen.times += 1
        if seen.times == 1 or seen.refused or not self._has_room():
            return False
        return not self.careful or (seen.measured is not None and seen.measured.waits())

    def measured(self, key: Hashable, measured: Measured) -> None:
        """Note how an eager pass of a size went."""
        # In the first pass of all kernels are compiled, and any device waits for that.
        if self._passes > 1:
            self._seen[key].measured = measured

    def refuse(self, key: Hashable) -> None:
        """Never record this size."""
        self._seen[key].refused = True

    def add(self, key: Hashable, captured: Captured) -> None:
        """Hold a recording; another one gives way where there are too many."""
        if len(self.captured) >= self.most:
            gone, _ = self.captured.popitem(last=False)
            # It has to come twice once more.
            self._seen.pop(gone, None)
        self.captured[key] = captured
        self._used[key] = self._passes

    def _has_room(self) -> bool:
        if len(self.captured) < self.most:
            return True
        if not self.careful:
            return False
        oldest = next(iter(self.captured))
        return self._passes - self._used[oldest] > RARELY * self.most
