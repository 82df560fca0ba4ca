"""Where the widths of the new maps go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import UsageError
from .choice import Maps
from .heads import indices_of, places_read, segmentation_heads
from .levels import Trunk


class Widths:
    """Writes the widths of the new maps into what reads the old ones."""

    def __init__(self, name: str, part: dict, trunk: Trunk, maps: Maps):
        self.name, self.part, self.trunk, self.maps = name, part, trunk, maps
        self.old = [level.width for level in maps.old]
        self.new = [level.width for level in maps.new]

    def write(self) -> None:
        """Change the model's neck, or its heads where there is none.

        Raises:
            UsageError: a width that is none of the old backbone's, or a neck that does not go with
                the new one.
        """
        neck = self.part.get("neck")
        # Of several necks the first reads the backbone; the others read that.
        first = neck[0] if isinstance(neck, (list, tuple)) else neck
        special = {
            # Made by `Choice`, which knows the widths.
            "EfficientViTFPN": lambda neck: None,
            "Feature2Pyramid": self._feature2pyramid,
            "GlobalAveragePooling": self._pooling,
            "JPU": self._jpu,
            "MLANeck": self._mla,
            "MultiLevelNeck": self._resizing,
            "SSDNeck": self._ssd_neck,
        }
        if not first:
            self._heads()
        elif first["type"] in special:
            special[first["type"]](first)
        else:
            self._all(first, "neck")

    def _heads(self) -> None:
        several = list(segmentation_heads(self.part))
        for where, head in several:
            self._by_index(head, where)
        if several:
            return
        heads = {
            key: value
            for key, value in self.part.items()
            if key.endswith("_head") and isinstance(value, dict) and "in_channels" in value
        }
        for key, head in heads.items():
            self._all(head, key)
        if not heads:
            raise UsageError(
                f"{self.name} has neither a neck nor a head with in_channels to read the maps"
            )

    def _all(self, reader: dict, where: str) -> None:
        """A reader of all maps as a list, finest or coarsest first, or of the last alone."""
        value = reader.get("in_channels")
        # What is replaced keeps its kind, list or tuple, so that nothing else differs.
        if value == self.old[-1]:
            reader["in_channels"] = self.new[-1]
        elif isinstance(value, (list, tuple)) and list(value) == self.old:
            reader["in_channels"] = type(value)(self.new)
        elif isinstance(value, (list, tuple)) and list(value) == self.old[::-1]:
            reader["in_channels"] = type(value)(self.new[::-1])
        else:
            raise self._unknown(where, value)

    def _by_index(self, head: dict, where: str, from_neck: Sequence[int] = ()) -> None:
        """A head of mmseg, which chooses its maps by `in_index`.

        Args:
            from_neck: places of maps that are not the backbone's.
        """
        value = head.get("in_channels")
        several = isinstance(value, (list, tuple))
        places = places_read(head, len(self.old))
        widths = []
        for i, width in zip(places, value if several else [value]):
            if i in from_neck:
                widths.append(width)
            elif width == self.old[i]:
                widths.append(self.new[self.maps.place[i]])
            else:
                raise self._unknown(where, value)
        head["in_channels"] = type(value)(widths) if several else widths[0]
        if head.get("num_convs") == 0 and not several:
            # Without convolutions of its own it classifies the map itself.
            head["channels"] = widths[0]
        moved, count = [self.maps.place[i] for i in places], len(self.new)
        # An index that says the same already, perhaps counted from the end, stays as it is.
        indices = zip(indices_of(head, count), moved)
        if any(index not in (place, place - count) for index, place in indices):
            head["in_index"] = moved if several else moved[0]
        if head.get("c1_in_channels"):
            head["c1_in_channels"] = self.new[self.maps.place[0]]

    def _ssd_neck(self, neck: dict) -> None:
        """It hands the backbone's maps on and adds its own; the head knows the widths of all."""
        self._all(neck, "neck")
        # Behind the backbone's maps stand those that the neck adds, which keep their widths.
        made = neck["out_channels"][len(self.old) :]
        neck["out_channels"] = type(neck["out_channels"])([*self.new, *made])
        head = self.part["bbox_head"]
        head["in_channels"] = type(head["in_channels"])(neck["out_channels"])

    def _jpu(self, neck: dict) -> None:
        """It hands all maps but the last on to the heads."""
        self._all(neck, "neck")
        for where, head in segmentation_heads(self.part):
            self._by_index(head, where, from_neck=[len(self.old) - 1])

    def _resizing(self, neck: dict) -> None:
        """It resizes the equal maps of a plain backbone; a pyramid's have their strides already."""
        self._all(neck, "neck")
        if not self.trunk.plain:
            neck["scales"] = [1] * len(self.new)

    def _feature2pyramid(self, neck: dict) -> None:
        """It does so for one width, and before a pyramid has nothing left to do."""
        if self.trunk.plain:
            neck["embed_dim"] = self.new[0]
        else:
            self.part["neck"] = None
        self._heads()

    def _mla(self, neck: dict) -> None:
        """It adds its maps up."""
        strides = [level.stride for level in self.maps.new]
        if len(set(strides)) > 1:
            raise UsageError(
                f"MLANeck of {self.name} adds up maps of one size, and "
                f"{self.trunk.arch} gives them at strides "
                f"{', '.join(map(str, strides))}. Plain columns (vim_t) go there; for "
                "others take SETR's naive or PUP config"
            )
        self._all(neck, "neck")

    def _pooling(self, neck: dict) -> None:
        """It hands the last map's width on to the head (re-identification)."""
        self.part["head"]["in_channels"] = self.new[-1]

    def _unknown(self, where: str, value: Any) -> UsageError:
        return UsageError(
            f"{where}.in_channels of {self.name} is {value}, but its backbone gives "
            f"maps of {', '.join(map(str, self.old))} channels"
        )
