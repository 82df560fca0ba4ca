"""Two commands from a folder of labels to AP, which is that of the COCO files they were made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmmamba.commands import main

from .exports import BLOOD, link_images, load, names_of, to_labelme, to_voc, yolo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BLOOD.is_dir(), reason=f"no data at {BLOOD}"),
]
TINY = """
_base_ = "./{base}.py"
randomness = dict(seed=1)
backbone = dict(embed_dims=32, depths=(1, 1, 1, 1))
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch=backbone, out_indices=(1, 2, 3)),
    neck=dict(in_channels=[64, 128, 256], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32),
)
resize = dict(type="Resize", scale=(160, 120), keep_ratio=True)
labels = dict(type="LoadAnnotations", with_bbox=True)
train_pipeline = [
    dict(type="LoadImageFromFile"), labels, resize, dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
val_pipeline = [
    dict(type="LoadImageFromFile"), resize, labels, dict(type="PackDetInputs", meta_keys=meta)
]
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=val_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
custom_hooks = []
default_hooks = dict(visualization=dict(draw=False))
"""


def part_of(split: str, number: int) -> dict:
    content = load(BLOOD, split)
    images = content["images"][:number]
    ids = {image["id"] for image in images}
    kept = [a for a in content["annotations"] if a["image_id"] in ids]
    return {**content, "images": images, "annotations": kept}


def to_coco(contents: dict[str, dict], source: Path, target: Path) -> Path:
    (target / "annotations").mkdir(parents=True)
    for split, content in contents.items():
        link_images(source, split, content, target / split)
        (target / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return target


def test_the_same_ap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    contents = dict(train=part_of("train", 24), val=part_of("val", 12))
    results = {}
    for write in (to_coco, yolo, to_voc, to_labelme):
        name = write.__name__
        root = write(contents, BLOOD, tmp_path / "data" / name)
        if write in (to_voc, to_labelme):
            # Their files do not say in which order the classes are.
            (root / "classes.txt").write_text("\n".join(names_of(contents["train"]).values()))
        words = f"--backbone vmamba_t --head rtmdet --data {root} --out {name}.py --length 40"
        assert main(["new", *words.split(), "--batch-size", "4"]) == 0
        Path(f"tiny_{name}.py").write_text(TINY.format(base=name))
        assert main(["train", f"tiny_{name}.py"]) == 0
        results[name] = scalars(Path(f"work_dirs/tiny_{name}"))
    wanted = results.pop("to_coco")
    assert max(row.get("coco/bbox_mAP_50", 0) for row in wanted) > 0.05
    assert results == dict.fromkeys(results, wanted)


def scalars(folder: Path) -> list[dict]:
    """Losses and AP of a run, which are all that does not depend on the machine."""
    (file,) = folder.rglob("vis_data/scalars.json")
    rows = []
    for line in file.read_text().splitlines():
        row = json.loads(line)
        kept = {key: row[key] for key in row if key.startswith(("loss", "coco/"))}
        rows.append(kept)
    return rows
