"""How heads read maps."""

from __future__ import annotations

from collections.abc import Iterator

NESTED_HEAD = "kernel_generate_head"
"""Through which K-Net's decode head reads the maps."""

VIEWING = ("CenterNetHead", "DMHead")
"""Heads that reshape maps by `view`, which wants them contiguous in memory."""


def views_maps(part: dict) -> bool:
    """Whether a head of the model needs `contiguous_maps`."""
    heads = [head for key, head in part.items() if key.endswith("_head")]
    return any(isinstance(head, dict) and head.get("type") in VIEWING for head in heads)


def segmentation_heads(part: dict) -> Iterator[tuple[str, dict]]:
    """The dicts of the heads of mmseg that read maps, each with its place in the config."""
    for key in ("decode_head", "auxiliary_head"):
        value = part.get(key)
        several = isinstance(value, (list, tuple))
        for i, head in enumerate(value if several else [value]):
            if isinstance(head, dict):
                place = f"{key}[{i}]" if several else key
                yield place, head.get(NESTED_HEAD, head)


def indices_of(head: dict, count: int) -> list[int]:
    """A head's `in_index` as a list; where it names none, all of `count` maps or the last."""
    several = isinstance(head.get("in_channels"), (list, tuple))
    index = head.get("in_index", list(range(count)) if several else -1)
    return list(index) if isinstance(index, (list, tuple)) else [index]


def places_read(head: dict, count: int) -> list[int]:
    """Places, among `count` maps, of those that a head reads."""
    # Indices may count from the end.
    return [i % count for i in indices_of(head, count)]


def maps_read(part: dict, count: int) -> set[int]:
    """Places of the maps that any head of a segmentor without a neck reads."""
    read = set()
    for _, head in segmentation_heads(part):
        read |= set(places_read(head, count))
        if head.get("c1_in_channels"):
            # DeepLabV3+ reads the finest map beside those of `in_index`.
            read.add(0)
    return read
