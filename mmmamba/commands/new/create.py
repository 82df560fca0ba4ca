"""`mmmamba.new`: a config for one's own data, written by a call."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config.find import find_config
from ...datasets.discovery import data_folder
from ...errors import UsageError
from ...structures.tiles import asked_tiling
from .classifier import CLASSIFIER, classifiers
from .heads import head_word, shipped_heads
from .pairs import DEFAULT_OF_PAIRS, SIGMA
from .write import write_config


@dataclass(frozen=True)
class NewConfig:
    """A config that was written; it stands for its file, as in `mmmamba.train(config)`.

    Attributes:
        path: of the file.
        said: what was found and chosen, a line each.
    """

    path: Path
    said: list[str]

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return "\n".join([*self.said, f"Wrote {self.path}"])


def new(
    backbone: str | None = None,
    head: str | None = None,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    val_share: float | None = None,
    batch: int | None = None,
    gpus: int = 1,
    length: int | None = None,
    second_modality: str | os.PathLike[str] | None = None,
    tile: int | None = None,
    overlap: float | None = None,
) -> NewConfig:
    """Write a config for one's own data, as `mmmamba new` does.

    Args:
        backbone: such as `vmamba_t`.
        head: `mask_rcnn`, `rtmdet`, `upernet`, `classifier`, …; of mmdet and mmseg `dino`,
            `mmseg::pspnet`, …
        data: folder of images and annotations or label maps or of classes, or a YOLO `data.yaml`.
        out: the config to write; `DATA_BACKBONE_HEAD.py` if None.
        force: replace it if it is there.
        val_share: of the images, for validation; for data that is not split.
        batch: images of a step on one GPU.
        gpus: that will train.
        length: epochs of a detector or a classifier or iterations of a segmentor.
        second_modality: of label maps of pairs, the folder of the second images, or its name beside
            that of the images; `backbone` and `head` are Sigma's then if none are named.
        tile: train and test a detector on tiles of larger images, of this many pixels a side.
        overlap: of neighbouring tiles, as a share of their side (0.25).

    Raises:
        UsageError: unknown names, data in no known layout or that the head cannot learn from, or a
            file that is there.
    """
    if data is None:
        raise UsageError("--data is missing: name the folder to train on")
    if second_modality is not None and backbone is None and head is None:
        backbone, head = DEFAULT_OF_PAIRS, SIGMA
    if backbone is None or head is None:
        raise UsageError(
            f"--{'backbone' if backbone is None else 'head'} is missing (mmmamba list, mmmamba "
            "list --heads)"
        )
    for name, value in (("batch", batch), ("gpus", gpus), ("length", length)):
        if value is not None and value < 1:
            raise UsageError(f"{_shown(name)} is {value}, wanted 1 or more")
    if val_share is not None and not 0 < val_share < 1:
        raise UsageError(f"--val-share is {val_share}, wanted a share between 0 and 1, such as 0.2")
    tiling = asked_tiling(tile, overlap)
    root = Path(data)
    path = Path(out if out is not None else f"{default_name(backbone, head, root)}.py")
    if path.exists() and not force:
        raise UsageError(
            f"{path} is there already; name another with --out, or replace it with --force"
        )
    second = None if second_modality is None else os.fspath(second_modality)
    choices = dict(
        val_share=val_share, batch=batch, gpus=gpus, length=length, second_modality=second
    )
    cut = dict(tile=tile, overlap=overlap)
    command = _command(dict(backbone=backbone, head=head, data=root, **choices, **cut))
    said = write_config(backbone, head, root, path, command=command, tiling=tiling, **choices)
    return NewConfig(path, said)


def default_name(backbone: str, head: str, data: str | os.PathLike[str]) -> str:
    """The name of a config that nobody named."""
    return f"{data_folder(Path(data)).name}_{backbone}_{head_word(head)}"


def parts_of(config: str | os.PathLike[str]) -> tuple[str, str]:
    """The backbone and the head of a config that comes with mmmamba.

    Raises:
        UsageError: it is none of those, or `new` starts from another one of the two.
    """
    path = find_config(os.fspath(config)).resolve()
    for backbone, heads in shipped_heads().items():
        for head, shipped in heads.items():
            if shipped.resolve() == path:
                return backbone, head
    for backbone, shipped in classifiers().items():
        if shipped.resolve() == path:
            return backbone, CLASSIFIER
    raise UsageError(
        f"data= takes configs that `mmmamba new` starts from, and {config} is none. Name backbone= "
        "and head= in its place, or the data in the config itself"
    )


def _command(settings: dict[str, Any]) -> str:
    """The command that writes the same config again, for the config's first line."""
    words = ["mmmamba new"]
    for name, value in settings.items():
        if value is not None and (name, value) != ("gpus", 1):
            words.append(f"{_shown(name)} {shlex.quote(str(value))}")
    return " ".join(words)


def _shown(name: str) -> str:
    """An argument as the command line calls it."""
    return "--" + {"batch": "batch-size"}.get(name, name.replace("_", "-"))
