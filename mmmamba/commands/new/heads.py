"""Which shipped config puts which head on which backbone."""

from __future__ import annotations

from pathlib import Path

from ...config.find import list_configs
from ...errors import UsageError
from ...models.backbones import list_backbones
from ...suggest import did_you_mean

HEADS = {
    "mask_rcnn": ("mask_rcnn", ""),
    "cascade_mask_rcnn": ("cascade_mask_rcnn", ""),
    "retinanet": ("retinanet", ""),
    "yolox": ("yolo", "yolox"),
    "rtmdet": ("yolo", "rtmdet"),
    "dfl": ("yolo", "dfl"),
    "mamba_yolo": ("mamba_yolo", ""),
    "upernet": ("upernet", ""),
    "semantic_fpn": ("semantic_fpn", ""),
}
"""Folder of the configs, and what follows the backbone's name in theirs."""
MASK_HEADS = ("mask_rcnn", "cascade_mask_rcnn")
SEGMENTATION_HEADS = ("upernet", "semantic_fpn")


def shipped_heads() -> dict[str, dict[str, Path]]:
    """Configs by backbone and head; of several the first by name, the shortest schedule."""
    # The longest first: `mamba_yolo_t` begins the name of `mamba_yolo_t_v2`, too.
    names = sorted(list_backbones(), key=len, reverse=True)
    found: dict[str, dict[str, Path]] = {}
    for path in list_configs():
        backbone = next((name for name in names if path.stem.startswith(f"{name}_")), None)
        if backbone is None:
            continue
        rest = path.stem.removeprefix(f"{backbone}_")
        for head, (folder, word) in HEADS.items():
            if path.parent.name == folder and rest.startswith(word):
                found.setdefault(backbone, {}).setdefault(head, path)
    return found


def base_config(backbone: str, head: str) -> Path:
    """The shipped config of a backbone and a head.

    Raises:
        UsageError: an unknown name, or no config of the two, with those there are.
    """
    if head not in HEADS:
        raise UsageError(
            f"there is no head {head!r}; there are {', '.join(HEADS)}.{did_you_mean(head, HEADS)}"
        )
    shipped = shipped_heads()
    if backbone not in shipped:
        known = list_backbones()
        if backbone in known:
            raise UsageError(
                f"no config comes with the backbone {backbone!r}; those that have one: "
                f"{_join(shipped)}"
            )
        raise UsageError(
            f"there is no backbone {backbone!r} (mmmamba list).{did_you_mean(backbone, known, 3)}"
        )
    if head not in shipped[backbone]:
        others = [name for name, heads in shipped.items() if head in heads]
        raise UsageError(
            f"no config comes with {head} on {backbone}. Heads on {backbone}: "
            f"{_join(shipped[backbone])}. Backbones with {head}: {_join(others)}"
        )
    return shipped[backbone][head]


def heads_for(backbone: str, masks: bool) -> list[str]:
    """Detection heads of a backbone that learn from boxes alone, or with `masks` all of them."""
    return [
        h
        for h in shipped_heads()[backbone]
        if h not in SEGMENTATION_HEADS and (masks or h not in MASK_HEADS)
    ]


def _join(names) -> str:
    return ", ".join(names) or "none"
