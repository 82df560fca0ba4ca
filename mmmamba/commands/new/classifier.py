"""Recipes of classifiers: the backbone's own, or another's with the backbone in it."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...config.find import list_configs
from ...config.modules import need_mmpretrain
from ...config.source import source
from ...datasets.discovery import ClassData
from ...models.backbones import list_backbones
from ...models.backbones.factory import family_of
from ...models.drop_in.families import published_weights
from .classes import CLASSES
from .frames import frame

CLASSIFIER = "classifier"
"""The head that is none of a detector's: the backbone's own, over `configs/imagenet`."""
FOLDER = "imagenet"
REFERENCE = "vmamba_t"
"""Whose recipe is taken where none of a backbone's family has one."""
OTHER_LOGITS = [r"(classifier\.)?((dist|aux)_)?head\.(l\.)?(weight|bias)"]
"""What of published weights is made for ImageNet's classes."""
TOP5 = 5
LENGTH = re.compile(r"_(\d+)e_")
WHOLE = 200
"""Epochs that train from nothing: a recipe of fewer goes on where another ended."""
DATASET = """\
        _delete_=True,
        type="CustomDataset",
        data_root=data_root,
        {place}metainfo=dict(classes=classes),
        pipeline={pipeline},
"""
LOADER = "{split}_dataloader = dict(\n{batch}    dataset=dict(\n{dataset}    ),\n)"
# The macro recall is the balanced accuracy.
SCORES = """\
val_evaluator = [
    dict(type="Accuracy", topk={topk}),
    dict(type="SingleLabelMetric", items=("precision", "recall", "f1-score")),
]"""


def classifiers() -> dict[str, Path]:
    """Our recipes of classifiers by backbone; no student's and no later stage's."""
    names = sorted(list_backbones(), key=len, reverse=True)
    found: dict[str, Path] = {}
    for path in filter(_is_recipe, list_configs(f"{FOLDER}/*")):
        name = next((name for name in names if path.stem.startswith(f"{name}_")), None)
        if name is not None:
            found.setdefault(name, path)
    return found


def classifier_recipe(backbone: str) -> tuple[Path, Config]:
    """A recipe for a backbone, which it has, or a sibling of it, or the reference.

    Returns:
        The file, and the config with the backbone and its published weights in it.

    Raises:
        UsageError: mmpretrain is not installed.
    """
    need_mmpretrain()
    family, known = family_of(backbone), classifiers()
    if backbone in known:
        config = Config.fromfile(known[backbone])
        _begin_with_published(config, backbone)
        return known[backbone], config
    siblings = [name for name in known if family_of(name) is family]
    path = known[_nearest(backbone, siblings) if siblings else REFERENCE]
    config = Config.fromfile(path)
    # What else the other has was chosen for its size.
    config.model.backbone = dict(
        type=family.__name__,
        arch=backbone,
        classifier=True,
        num_classes=config.model.backbone.num_classes,
    )
    _begin_with_published(config, backbone)
    return path, config


def _nearest(backbone: str, siblings: list[str]) -> str:
    """`vim_s` for `vim_s_det`; else the sibling whose name is most like the backbone's."""
    whole = [name for name in siblings if backbone.startswith(f"{name}_")]
    matcher = SequenceMatcher(None, backbone, backbone)

    def alike(name: str) -> float:
        matcher.set_seq1(name)
        return matcher.ratio()

    return max(whole or siblings, key=alike)


def _begin_with_published(config: Config, backbone: str) -> None:
    if checkpoint := published_weights(backbone):
        config.model.backbone.init_cfg = dict(
            type="Pretrained", checkpoint=checkpoint, allow_mismatched=OTHER_LOGITS
        )


def with_classes(config: Config, classes: int) -> dict[str, Any]:
    """The model of a recipe for another number of classes."""
    model = config.model.to_dict()
    model["data_preprocessor"]["num_classes"] = CLASSES
    model["backbone"]["num_classes"] = CLASSES
    model["head"]["topk"] = _topk(classes)
    return model


def class_text(data: ClassData, root: Path, batch: int, base: Config) -> str:
    """The lines for folders of classes below a folder that a config has named `data_root`."""
    lines = []
    for split, part in (("train", data.train), ("val", data.val), ("test", data.test)):
        if part is None:
            lines.append("test_dataloader = val_dataloader")
            continue
        folder = part.images
        below = folder.relative_to(root).as_posix() if folder != root else ""
        place = f"data_prefix={source(below)},\n        " if below else ""
        if part.annotations != folder:
            place = f"ann_file={source(str(part.annotations))},\n        {place}"
        elif data.endings:
            place += f"extensions={source(data.endings)},\n        "
        dataset = DATASET.format(place=place, pipeline=frame(base, split).pipeline)
        size = f"    batch_size={batch},\n" if split == "train" else ""
        lines.append(LOADER.format(split=split, batch=size, dataset=dataset))
    lines.append(SCORES.format(topk=source(_topk(len(data.classes)))))
    lines.append("test_evaluator = val_evaluator")
    return "\n".join(lines)


def _topk(classes: int) -> tuple[int, ...]:
    # Five of five are always right.
    return (1, TOP5) if classes > TOP5 else (1,)


def _is_recipe(path: Path) -> bool:
    # A student's needs its teacher, and what is short or has other images is one of several stages.
    plain = path.stem.endswith(f"_{FOLDER}") and _length(path) >= WHOLE
    return path.parent.name == FOLDER and plain


def _length(path: Path) -> int:
    found = LENGTH.search(path.stem)
    return int(found[1]) if found else 0
