"""A small data set of coloured shapes, drawn on the spot: something to train on without data.

One scene gives both views: instances in COCO format (MMDetection) and a label map per image
(MMSegmentation). It holds what real sets hold: polygons, RLE, crowds, images without objects,
occlusion, ids with gaps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .drawn_folder import drawn_folder

CLASSES = ("circle", "square", "triangle")
# Not 0, 1, 2: who takes ids for labels is found out.
CATEGORY_IDS = (1, 4, 9)
PALETTE = [(220, 60, 60), (60, 160, 60), (60, 90, 220)]
SEG_CLASSES = ("background", *CLASSES)
SEG_PALETTE = [(0, 0, 0), *PALETTE]

MIN_VISIBLE = 0.6
PLACING_TRIES = 20
CROWD_SHAPES = 7
# Of OpenCV's eight-bit images.
HUES = 180
# Another drawing under the same specification is another data set.
VERSION = 2


@dataclass(frozen=True)
class ShapesSpec:
    """What is drawn. `size` is the side of the square images in pixels."""

    num_train: int = 240
    num_val: int = 48
    size: int = 128
    max_shapes: int = 4
    empty_every: int = 12
    crowd_every: int = 10
    seed: int = 0


@dataclass
class Instance:
    """One object: class index, visible pixels (H, W), and whole area in pixels.

    It has an outline if it is one shape.
    """

    label: int
    mask_HW: np.ndarray
    full_area: int
    outline: np.ndarray | None
    iscrowd: bool = False

    @property
    def whole(self) -> bool:
        """Nothing of it is hidden or beyond the image's border: its outline describes it."""
        if self.outline is None or self.mask_HW.sum() < self.full_area:
            return False
        return bool(self.outline.min() >= 0 and self.outline.max() <= self.mask_HW.shape[0])


def make_shapes(root: str | Path, spec: ShapesSpec | None = None) -> Path:
    """Write the data set below `root` unless it is already there, and return `root`.

    Layout: `train/ val/` images, `annotations/instances_{train,val}.json` in COCO format, and
    `labels/{train,val}/` maps for segmentation whose values index `SEG_CLASSES`.

    Raises:
        FileExistsError: `root` holds files that this function did not write.
    """
    spec = spec or ShapesSpec()

    def draw(folder: Path) -> None:
        for split, count in (("train", spec.num_train), ("val", spec.num_val)):
            _write_split(folder, split, count, spec)

    return drawn_folder(Path(root), {**asdict(spec), "version": VERSION}, draw)


def draw_scene(
    rng: np.random.Generator, spec: ShapesSpec, num_shapes: int, crowd: bool
) -> tuple[np.ndarray, list[Instance]]:
    """Draw one image (H, W, 3; BGR, uint8) and list its instances.

    Later shapes may hide a part of earlier ones.
    """
    image_HWC = draw_background(rng, spec.size)
    drawn = [_paint_crowd(rng, image_HWC)] if crowd else []
    for _ in range(num_shapes):
        label = int(rng.integers(len(CLASSES)))
        instance = place_shape(rng, spec.size, label, drawn)
        if instance is not None:
            paint(rng, image_HWC, instance.mask_HW, label)
            drawn.append(instance)
    return image_HWC, drawn


def place_shape(
    rng: np.random.Generator, size: int, label: int, drawn: list[Instance]
) -> Instance | None:
    """A shape over those that are drawn, whose masks lose what it hides; None if it finds no place.

    Args:
        size: of the image, a side in pixels.
    """
    for _ in range(PLACING_TRIES):
        radius = rng.uniform(0.11, 0.26) * size
        center = rng.uniform(0.6 * radius, size - 0.6 * radius, size=2)
        outline = _outline(rng, label, center, radius)
        mask_HW = _rasterise(outline, size)
        # What could still be seen of those before, if this shape were drawn over them.
        left = [instance.mask_HW & ~mask_HW for instance in drawn]
        if _enough_left(drawn, left):
            for instance, seen_HW in zip(drawn, left, strict=True):
                instance.mask_HW = seen_HW
            return Instance(label, mask_HW, int(mask_HW.sum()), outline)
    return None


def _enough_left(drawn: list[Instance], left: list[np.ndarray]) -> bool:
    """Whether enough of every instance can still be seen."""
    for instance, seen_HW in zip(drawn, left, strict=True):
        if seen_HW.sum() < MIN_VISIBLE * instance.full_area:
            return False
    return True


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Blurred blobs of muted colour with grain."""
    coarse = rng.uniform(70, 150, size=(5, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, size=smooth.shape), 0, 255).astype(np.uint8)


def _outline(rng: np.random.Generator, label: int, center: np.ndarray, radius: float) -> np.ndarray:
    """Corners (P, 2) as x, y in pixels."""
    corners = (32, 4, 3)[label]
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    return center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def paint(rng: np.random.Generator, image_HWC: np.ndarray, mask_HW: np.ndarray, label: int) -> None:
    """Fill the mask.

    Each class has its range of hues, which lets a network tell them apart within minutes.
    """
    hue = (label * HUES / len(CLASSES) + rng.normal(0, 8)) % HUES
    colour_HSV = np.array([[[hue, rng.uniform(150, 255), rng.uniform(90, 255)]]], dtype=np.uint8)
    grain = rng.normal(0, 5, size=image_HWC.shape)
    colour = cv2.cvtColor(colour_HSV, cv2.COLOR_HSV2BGR)[0, 0]
    image_HWC[mask_HW] = np.clip(colour + grain, 0, 255).astype(np.uint8)[mask_HW]


def _paint_crowd(rng: np.random.Generator, image_HWC: np.ndarray) -> Instance:
    """A heap of small shapes of one class, annotated as one region."""
    size = image_HWC.shape[0]
    label = int(rng.integers(len(CLASSES)))
    middle = rng.uniform(0.25 * size, 0.75 * size, size=2)
    region_HW = np.zeros((size, size), dtype=bool)
    for _ in range(CROWD_SHAPES):
        center = middle + rng.uniform(-0.14, 0.14, size=2) * size
        small_HW = _rasterise(_outline(rng, label, center, rng.uniform(0.04, 0.06) * size), size)
        paint(rng, image_HWC, small_HW, label)
        region_HW |= small_HW
    return Instance(label, region_HW, int(region_HW.sum()), None, iscrowd=True)


def _write_split(root: Path, split: str, count: int, spec: ShapesSpec) -> None:
    """Draw and write one split."""
    # A stream for each split: more training images leave the validation images as they are.
    rng = np.random.default_rng([spec.seed, {"train": 0, "val": 1}[split]])
    image_dir, label_dir = root / split, root / "labels" / split
    for directory in (image_dir, label_dir, root / "annotations"):
        directory.mkdir(parents=True, exist_ok=True)
    images, annotations, image_id, annotation_id = [], [], 0, 0
    for index in range(count):
        empty = index % spec.empty_every == spec.empty_every - 1
        crowd = not empty and index % spec.crowd_every == spec.crowd_every - 1
        num_shapes = 0 if empty else int(rng.integers(1, spec.max_shapes + 1))
        image_HWC, instances = draw_scene(rng, spec, num_shapes, crowd)
        name = f"{split}_{index:05d}"
        cv2.imwrite(str(image_dir / f"{name}.png"), image_HWC)
        cv2.imwrite(str(label_dir / f"{name}.png"), label_map(instances, spec.size))
        image_id += int(rng.integers(1, 10))
        images.append(dict(id=image_id, file_name=f"{name}.png", height=spec.size, width=spec.size))
        for instance in instances:
            annotation_id += int(rng.integers(1, 6))
            annotations.append(coco_annotation(instance, annotation_id, image_id))
    categories = [dict(id=i, name=name) for i, name in zip(CATEGORY_IDS, CLASSES, strict=True)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def label_map(instances: list[Instance], size: int) -> np.ndarray:
    """Label map (H, W) whose values index `SEG_CLASSES`."""
    labels_HW = np.zeros((size, size), dtype=np.uint8)
    for instance in instances:
        # Masks hold visible pixels only: no two meet, and their order does not matter.
        labels_HW[instance.mask_HW] = instance.label + 1
    return labels_HW


def coco_annotation(instance: Instance, annotation_id: int, image_id: int) -> dict:
    """One COCO annotation: a polygon if all of it is seen, else an RLE, plain for a crowd."""
    rle = coco_mask.encode(np.asfortranarray(instance.mask_HW.astype(np.uint8)))
    # The three forms in which COCO files hold masks, so that readers meet each of them.
    if instance.iscrowd:
        segmentation = dict(
            size=list(instance.mask_HW.shape), counts=_run_lengths(instance.mask_HW)
        )
    elif instance.whole:
        segmentation = [instance.outline.ravel().tolist()]
    else:
        segmentation = dict(size=list(rle["size"]), counts=rle["counts"].decode("ascii"))
    return dict(
        id=annotation_id,
        image_id=image_id,
        category_id=CATEGORY_IDS[instance.label],
        bbox=coco_mask.toBbox(rle).tolist(),
        area=float(coco_mask.area(rle)),
        segmentation=segmentation,
        iscrowd=int(instance.iscrowd),
    )


def _rasterise(outline: np.ndarray, size: int) -> np.ndarray:
    """Outline to a mask (H, W), by COCO's own rule."""
    # A polygon that is read back covers just the pixels that were painted.
    rles = coco_mask.frPyObjects([outline.ravel().tolist()], size, size)
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


def _run_lengths(mask_HW: np.ndarray) -> list[int]:
    """Uncompressed COCO counts: run lengths down the columns, starting with zeros."""
    # Where the value changes a run ends; a mask that begins with 1 has a first run of no zeros.
    flat = mask_HW.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(bounds).tolist()
    return [0, *counts] if flat[0] else counts
