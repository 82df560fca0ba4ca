"""All checks of one split of a config."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ...errors import UsageError
from ..saliency.files import Triple
from .class_images import check_classes
from .coco import check_coco, read_coco
from .converted import add_converted, check_age
from .partners import check_partner_use, check_partners, partners_of
from .report import Report
from .saliency import check_saliency
from .segmentation import check_segmentation
from .splits import Split
from .usable import (
    check_coco_use,
    check_heads,
    check_segmentation_use,
    labelled_pairs,
    segmentation_entries,
)


@dataclass
class Checked:
    """What was found, and what it was found in.

    That is the content of a COCO file, or pairs of images and label maps, or of images and labels.
    """

    split: Split
    report: Report
    content: dict = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    labelled: list[tuple[str, int]] = field(default_factory=list)
    triples: list[Triple] = field(default_factory=list)
    ignore_index: int = 255

    def images(self) -> list[Path]:
        """Paths of the images."""
        if self.triples:
            return [one.image for one in self.triples]
        if self.pairs or self.labelled:
            return [Path(image) for image, _ in self.pairs or self.labelled]
        # `image_root` is asked of COCO data sets alone: others name their folder otherwise.
        root = Path(self.split.image_root) if self.content else Path()
        names = [image.get("file_name") for image in self.content.get("images", ())]
        return [root / name for name in names if isinstance(name, str)]


def check_split(cfg: Config, split: Split, decode: bool = True) -> Checked:
    """Check the data of one split of a config.

    Args:
        decode: read images whole; otherwise their headers only.

    Raises:
        UsageError: a data set of a sort that is not known.
    """
    if split.is_coco:
        return _check_coco(cfg, split, decode)
    if split.is_segmentation:
        return _check_segmentation(cfg, split, decode)
    if split.is_classification:
        report, labelled = check_classes(cfg, split, decode)
        return Checked(split, report, labelled=labelled)
    if split.is_saliency:
        report = check_saliency(split, decode, split.reading)
        return Checked(split, report, triples=split.dataset.triples())
    raise UsageError(
        f"the data set of {split.name}_dataloader is a {type(split.dataset).__name__}; "
        "mmmamba checks CocoDataset (mmdet), BaseSegDataset (mmseg), CustomDataset (mmpretrain), "
        "SaliencyDataset "
        "and what is derived from them"
    )


def _check_coco(cfg: Config, split: Split, decode: bool) -> Checked:
    file = split.dataset.ann_file
    report = Report(split.name, file)
    content = read_coco(file, report)
    if content is None:
        return Checked(split, report)
    report = check_coco(
        content,
        split.image_root,
        split.classes,
        file=file,
        name=split.name,
        masks=split.masks,
        min_size=split.min_size,
        decode=decode,
        reading=split.reading,
    )
    add_converted(content, report)
    check_age(content, file, report)
    check_heads(cfg, split, report)
    # With other classes nothing would be left, which says nothing new.
    if not report.has("classes-none", "classes-text", "classes-missing"):
        check_coco_use(content, split, report)
    return Checked(split, report, content)


def _check_segmentation(cfg: Config, split: Split, decode: bool) -> Checked:
    entries = segmentation_entries(split)
    pairs = labelled_pairs(entries)
    folder = split.dataset.data_prefix.get("seg_map_path") or ""
    report = Report(split.name, folder, unit="pixels")
    head = cfg.model.get("decode_head")
    # The head's, as the loss leaves pixels out by it; cascades have a list of heads.
    ignore_index = (head[0] if isinstance(head, list) else head or {}).get("ignore_index", 255)
    if pairs:
        report = check_segmentation(
            pairs,
            split.classes or (),
            folder=folder,
            name=split.name,
            ignore_index=ignore_index,
            decode=decode,
            reading=split.reading,
            reduce_zero_label=split.dataset.reduce_zero_label,
            label_map=split.dataset.label_map,
        )
    else:
        check_segmentation_use(split, pairs, report)
    if partners := partners_of(entries):
        check_partners(partners, report, split.reading, decode)
    else:
        check_partner_use(entries, split.reading, report)
    check_heads(cfg, split, report)
    return Checked(split, report, pairs=pairs, ignore_index=ignore_index)


def check_overlap(train: Iterable[Path], other: Iterable[Path], report: Report) -> None:
    """Images of a split that training has too."""
    # Splits may reach one file by different paths or links.
    known = {path.resolve() for path in train}
    for path in other:
        if path.resolve() in known:
            report.add("image-both", file=str(path))
