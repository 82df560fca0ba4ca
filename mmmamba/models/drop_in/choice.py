"""Which maps of the new backbone answer those of the old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError
from ..trunks.column import PYRAMID_STRIDES
from .heads import maps_read
from .levels import Level, Trunk

RESIZING = {"MultiLevelNeck": "scales", "Feature2Pyramid": "rescales"}
"""Necks that resize the equal maps of a plain backbone, and the argument that says how."""
FPN_ARGUMENTS = {
    "type",
    "in_channels",
    "out_channels",
    "num_outs",
    "start_level",
    "add_extra_convs",
    "relu_before_extra_convs",
}
"""What an FPN that EfficientViTFPN can stand for is made with."""


@dataclass(frozen=True)
class Maps:
    """The old backbone's maps and those that answer them."""

    old: list[Level]
    new: list[Level]
    """That leave the new backbone, in order."""
    place: list[int]
    """Among the new ones, of the answer to each old map; -1 for a map that nothing reads."""


class Choice:
    """Chooses maps for a model; `indices` are the arguments of the new backbone that give them.

    Args:
        name: of the config, for messages.
        part: the dict that holds the backbone, its neck and heads.
        trunk: the new backbone.
        old: the old backbone's maps.
    """

    def __init__(self, name: str, part: dict, trunk: Trunk, old: list[Level]):
        self.name, self.part, self.trunk, self.old = name, part, trunk, old
        self.strides = [level.stride for level in old]
        self.native = [level.stride for level in trunk.levels]
        self.offered = PYRAMID_STRIDES if trunk.plain else tuple(self.native)
        self.indices: dict[str, Any] = {}

    def detector(self) -> Maps:
        """Maps at the strides of the old ones, which a detector's anchors and points are made for.

        Raises:
            UsageError: the backbone has none at one of those strides.
        """
        if not _ascending(self.strides):
            return self._by_position()
        if not self._has(self.strides):
            return self._finer_by_neck()
        return self._at(self.strides)

    def segmentor(self) -> Maps:
        """Maps at the strides of the old ones, or the nearest: heads resize what they are given.

        Raises:
            UsageError: the backbone has too few maps.
        """
        # The neck will have nothing to resize: the maps come at the strides it would have made.
        resized = self._strides_after_neck()
        if resized:
            nearest = [self._nearest(stride) for stride in resized]
            # A backbone gives each of its maps once.
            if not _ascending(nearest):
                raise self._lacking(resized)
            return self._at(nearest)
        # Dilated and plain backbones: only their depth tells the maps apart.
        equal = len(set(self.strides)) < len(self.strides)
        if equal and self.strides == sorted(self.strides):
            return self._by_position()
        if self.part.get("neck") or (self._has(self.strides) and _ascending(self.strides)):
            return self._at(self.strides)
        # Without a neck heads read single maps, at whatever strides. Only those that are read need
        # an answer, and one new map may answer several.
        read = maps_read(self.part, len(self.strides))
        chosen = self._at(sorted({self._nearest(self.strides[i]) for i in read}))
        new = [level.stride for level in chosen.new]
        place = [-1] * len(self.strides)
        for i in read:
            place[i] = new.index(self._nearest(self.strides[i]))
        return Maps(self.old, chosen.new, place)

    def _has(self, strides: Sequence[int]) -> bool:
        return set(strides) <= set(self.offered)

    def _nearest(self, stride: int) -> int:
        # Of two as near the finer one.
        return min(self.offered, key=lambda one: (abs(one - stride), one))

    def _at(self, strides: Sequence[int]) -> Maps:
        """The maps at ascending strides.

        A pyramid gives those stages. A plain column gives its last map, or, for other strides than
        its own, maps of chosen depth that `pyramid` brings to those strides.
        """
        if not self._has(strides):
            raise self._lacking(strides)
        trunk = self.trunk
        if not trunk.plain:
            chosen = [self.native.index(stride) for stride in strides]
            self._set_blocks([trunk.out_indices[i] for i in chosen])
            new = [trunk.levels[i] for i in chosen]
        elif list(strides) == self.native[:1]:
            self._set_blocks(trunk.out_indices[-1:])
            new = [trunk.levels[-1]]
        else:
            if trunk.drops_rest:
                # Necks that double maps want sides that round up, as those of other backbones do.
                self.indices["pad"] = True
            whole = tuple(strides) == PYRAMID_STRIDES
            self.indices["pyramid"] = True if whole else tuple(strides)
            self._set_blocks([trunk.out_indices[PYRAMID_STRIDES.index(s)] for s in strides])
            new = [Level(trunk.levels[0].width, stride) for stride in strides]
        return Maps(self.old, new, list(range(len(new))))

    def _by_position(self) -> Maps:
        """The last maps, as many as the old ones.

        Those of a dilated or plain backbone are told apart by their depth, not by their stride.
        """
        count, trunk = len(self.old), self.trunk
        lacking = count - len(trunk.levels)
        if lacking > 0:
            # The first ones may be lacking where heads read the last alone.
            heads_alone = "decode_head" in self.part and not self.part.get("neck")
            if not heads_alone or min(maps_read(self.part, count)) < lacking:
                raise UsageError(
                    f"{self.name} wants {count} maps, {trunk.arch} gives {len(trunk.levels)}"
                )
            place = [i - lacking if i >= lacking else -1 for i in range(count)]
            return Maps(self.old, list(trunk.levels), place)
        self._set_blocks(trunk.out_indices[-count:])
        return Maps(self.old, list(trunk.levels[-count:]), list(range(count)))

    def _set_blocks(self, blocks: Sequence[int]) -> None:
        if tuple(blocks) != self.trunk.out_indices:
            self.indices["out_indices"] = tuple(blocks)

    def _finer_by_neck(self) -> Maps:
        """For a backbone that begins late: an FPN that makes the finer levels itself.

        Raises:
            UsageError: the neck is no plain FPN, or the backbone begins early enough, so that it is
                another stride that is lacking.
        """
        neck, trunk = self.part.get("neck"), self.trunk
        plain_fpn = isinstance(neck, dict) and neck["type"] == "FPN" and set(neck) <= FPN_ARGUMENTS
        start = neck.get("start_level", 0) if plain_fpn else 0
        first = self.strides[start] if plain_fpn else 0
        if start and self._has(self.strides[start:]):
            # What is lacking would not be read: Mamba YOLO begins where RetinaNet's pyramid does.
            neck.update(in_channels=neck["in_channels"][start:], start_level=0)
            self.old, self.strides = self.old[start:], self.strides[start:]
            return self._at(self.strides)
        if not plain_fpn or first >= self.native[0]:
            reason = (
                ", and only a plain FPN can be exchanged for EfficientViTFPN, which makes finer "
                "ones"
            )
            raise self._lacking(self.strides, "" if plain_fpn else reason)
        # Each finer level has half the stride of the one before.
        finer = (self.native[0] // first).bit_length() - 1
        # Of `num_outs` levels some are made anew; the backbone's maps fill what is left.
        kept = min(len(trunk.levels), neck["num_outs"] - finer)
        self._set_blocks(trunk.out_indices[:kept])
        self.part["neck"] = dict(
            type="EfficientViTFPN",
            in_channels=[level.width for level in trunk.levels[:kept]],
            out_channels=neck["out_channels"],
            num_outs=neck["num_outs"],
            num_extra_trans_convs=finer,
        )
        if coarser := neck.get("add_extra_convs"):
            self.part["neck"]["add_extra_convs"] = coarser
        return Maps(self.old, list(trunk.levels[:kept]), [])

    def _strides_after_neck(self) -> list[int] | None:
        """What a neck makes of the equal maps of a plain backbone, where the new one is none."""
        neck = self.part.get("neck")
        scales = neck.get(RESIZING.get(neck["type"])) if isinstance(neck, dict) else None
        if not scales or self.trunk.plain or len(set(self.strides)) > 1:
            return None
        return [round(level.stride / scale) for level, scale in zip(self.old, scales)]

    def _lacking(self, strides: Sequence[int], more: str = "") -> UsageError:
        return UsageError(
            f"{self.name} wants maps at strides {', '.join(map(str, strides))}; "
            f"{self.trunk.arch} gives maps at {', '.join(map(str, self.offered))}"
            f"{more}"
        )


def _ascending(strides: Sequence[int]) -> bool:
    return list(strides) == sorted(set(strides))
