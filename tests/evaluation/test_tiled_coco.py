"""A detector that knows what lies in each tile has an AP of 1 over whole images."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DATASETS, METRICS, DefaultScope
from pycocotools import mask as coco_mask

import mmmamba.detection  # noqa: F401
from mmmamba.errors import UsageError
from mmmamba.evaluation.coco_results import keep_results, precisions
from tests.datasets.tiled.scenes import Oracle, coco_dataset, write_scenes


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), [(220, 260), (40, 60)], seed=1)


def build(scenes, size, overlap, **settings):
    """The tiles of the scenes and the metric for them."""
    inner = coco_dataset(scenes, serialize_data=False)
    dataset = DATASETS.build(dict(type="TiledDataset", size=size, overlap=overlap, dataset=inner))
    file = str(scenes / "scenes.json")
    settings = dict(type="TiledCocoMetric", ann_file=file, metric=["bbox", "segm"]) | settings
    metric = METRICS.build(settings)
    metric.dataset_meta = dataset.metainfo
    return dataset, metric


@pytest.mark.parametrize(
    ("size", "overlap"), [(48, 0.2), (64, 0.1), (64, 0.5), (100, 0.25), (180, 0.1), (512, 0.25)]
)
def test_ap_is_1_where_each_tile_is_known(scenes, size, overlap):
    """The largest object spans 2 to 4 tiles of most sizes, crowds are cut with the rest."""
    dataset, metric = build(scenes, size, overlap)
    oracle, kept = Oracle(scenes), keep_results(metric)
    # Two tiles in a batch, as a loader brings them.
    for start in range(0, len(dataset), 2):
        batch = [oracle(dataset[i]) for i in range(start, min(start + 2, len(dataset)))]
        metric.process({}, batch)
    scores = metric.evaluate(len(dataset))
    assert {name: value for name, value in scores.items() if value != 1} == {}
    assert {"coco/bbox_mAP", "coco/segm_mAP", "coco/bbox_mAP_l"} <= {*scores}
    # Nor is anything found twice or in pieces, which AP alone does not tell.
    assert [label["img_id"] for label, _ in kept] == [3, 4]
    for label, found in kept:
        wanted = oracle.coco.load_anns(oracle.coco.get_ann_ids(img_ids=[label["img_id"]]))
        assert len(found["scores"]) == len(wanted)
        by_corner = sorted(wanted, key=lambda a: (*a["bbox"][:2],))
        for index, annotation in zip(np.lexsort(found["bboxes"].T[1::-1]), by_corner):
            x, y, width, height = annotation["bbox"]
            assert found["bboxes"][index].tolist() == [x, y, x + width, y + height]
            mask = coco_mask.decode(found["masks"][index])
            assert np.array_equal(mask, oracle.coco.annToMask(annotation))


def test_the_largest_object_lies_in_several_tiles(scenes):
    """What the test above is about is there."""
    dataset, _ = build(scenes, 64, 0.1)
    oracle = Oracle(scenes)
    largest = max(oracle.coco.load_anns(oracle.coco.get_ann_ids()), key=lambda a: a["area"])
    mask = oracle.coco.annToMask(largest)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    seen = [i for i in infos if i["img_id"] == largest["image_id"] and i["tile"].of(mask).any()]
    assert len(seen) >= 4
    crowds = oracle.coco.load_anns(oracle.coco.get_ann_ids(iscrowd=True))
    assert crowds


def test_ap_counts_more_than_100_of_a_class(tmp_path):
    """mmdet's mAP would stop at the 100 surest, and be below 1."""
    import json

    import cv2

    boxes = [[x, y, 6, 6] for y in range(2, 150, 12) for x in range(2, 150, 12)]
    annotations = [
        dict(id=i, image_id=3, category_id=1, bbox=box, area=36, iscrowd=0, segmentation=polygon)
        for i, box in enumerate(boxes, start=1)
        for polygon in [_outline(box)]
    ]
    categories = [
        dict(id=3 * i + 1, name=name) for i, name in enumerate(("disc", "block", "wedge"))
    ]
    images = [dict(id=3, file_name="3.png", height=152, width=152)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / "scenes.json").write_text(json.dumps(content))
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((152, 152, 3), np.uint8))
    dataset, metric = build(tmp_path, 100, 0.2, metric="bbox")
    oracle, kept = Oracle(tmp_path), keep_results(metric)
    metric.process({}, [oracle(dataset[i]) for i in range(len(dataset))])
    assert metric.evaluate(len(dataset))["coco/bbox_mAP"] == 1
    # Charts of a run show the same.
    assert precisions(metric, kept)[0].average() == pytest.approx(1)
    assert len(boxes) > 150


def _outline(box):
    x, y, width, height = box
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def test_tiles_of_one_image_may_be_on_several_processes(two_processes):
    one, other = (found["tiles"] for found in two_processes)
    # Each saw tiles of both large images, and together they saw all, one of them twice.
    assert {*one["seen"]} & {*other["seen"]} >= {"3", "4"}
    seen = [index for found in (one, other) for part in found["seen"].values() for index in part]
    assert {*seen} == {*range(one["tiles"])} and len(seen) == one["tiles"] + 1
    assert one["metrics"] == other["metrics"]
    scored = {name: value for name, value in one["metrics"].items() if value != -1}
    assert {*scored.values()} == {1.0} and {"coco/bbox_mAP", "coco/segm_mAP"} <= {*scored}


def test_what_cannot_be_scored_is_refused(scenes):
    dataset, metric = build(scenes, 100, 0.25)
    oracle = Oracle(scenes)
    first = oracle(dataset[0])
    whole = {key: value for key, value in first.items() if key != "tile"}
    with pytest.raises(UsageError, match="TiledCocoMetric joins tiles.*whole images"):
        metric.process({}, [whole])
    first["pred_instances"].mask_scores = first["pred_instances"].scores
    with pytest.raises(UsageError, match="mask_scores"):
        metric.process({}, [first])
    metric.process({}, [oracle(dataset[0])])
    with pytest.raises(UsageError, match="image 3 has 12 tiles, and 1 were predicted"):
        metric.evaluate(1)
    with pytest.raises(UsageError, match="name it by ann_file"):
        METRICS.build(dict(type="TiledCocoMetric"))
    with pytest.raises(UsageError, match="not proposal_fast"):
        build(scenes, 100, 0.25, metric=["bbox", "proposal_fast"])
