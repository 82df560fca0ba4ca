"""Tiles are samples like any other: for pipelines, samplers, mosaics, workers and checks."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose, DefaultSampler
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

from mmmamba.datasets.guarded import DataError, Ledger, build_checked
from mmmamba.engine.reliability.resume.batches import cached_transforms
from mmmamba.errors import UsageError
from mmmamba.structures.tiles import image_tiles

from .scenes import CLASSES, coco_dataset


def tiled(scenes, size=64, overlap=0.25, dataset=None, **more):
    inner = dict(serialize_data=False, test_mode=False) | (dataset or {})
    return dict(
        type="TiledDataset",
        size=size,
        overlap=overlap,
        dataset=coco_dataset(scenes, **inner),
        **more,
    )


def test_each_tile_is_a_sample_with_its_pixels_and_objects(scenes):
    dataset = DATASETS.build(tiled(scenes, keep_empty=1.0))
    wanted = [*image_tiles(150, 230, 64, 0.25), *image_tiles(170, 140, 64, 0.25)]
    wanted += image_tiles(40, 60, 64, 0.25)
    assert len(dataset) == len(wanted) == 15 + 12 + 1
    assert dataset.metainfo["classes"] == CLASSES
    for index, tile in enumerate(wanted):
        info, sample = dataset.get_data_info(index), dataset[index]
        assert info["tile"] == tile and (info["width"], info["height"]) == (tile.width, tile.height)
        image = tile.of(cv2.imread(info["img_path"]))
        assert np.array_equal(sample["inputs"].numpy(), image.transpose(2, 0, 1))
        packed = sample["data_samples"]
        assert packed.tile == tile and packed.ori_shape == (tile.height, tile.width)
        kept, ignored = packed.gt_instances, packed.ignored_instances
        assert len(kept) + len(ignored) == len(info["instances"])
        assert kept.masks.masks.shape[1:] == (tile.height, tile.width)
        assert dataset.get_cat_ids(index) == [one["bbox_label"] for one in info["instances"]]


def test_polygons_stay_polygons(scenes):
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
        dict(type="PackDetInputs"),
    ]
    sample = DATASETS.build(tiled(scenes, dataset=dict(pipeline=pipeline)))[0]
    assert type(sample["data_samples"].gt_instances.masks).__name__ == "PolygonMasks"


def test_empty_tiles_are_kept_by_a_share_that_is_the_same_each_time(scenes):
    def build(share):
        return DATASETS.build(tiled(scenes, 32, 0.0, keep_empty=share))

    def places(dataset):
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        return [(info["img_id"], info["tile"]) for info in infos]

    every, none, some = places(build(1.0)), places(build(0.0)), places(build(0.4))
    assert set(none) < set(some) < set(every) and places(build(0.4)) == some
    assert 0.15 < (len(some) - len(none)) / (len(every) - len(none)) < 0.65
    dataset = build(0.0)
    for index, place in enumerate(none):
        learnt = [not one["ignore_flag"] for one in dataset.get_data_info(index)["instances"]]
        assert any(learnt), place
    # A test has all, as tiles that are missing would leave holes.
    assert places(DATASETS.build(tiled(scenes, 32, 0.0, dict(test_mode=True)))) == every


def test_an_image_is_decoded_once_for_the_tiles_that_follow(scenes, monkeypatch):
    dataset = DATASETS.build(tiled(scenes, dataset=dict(test_mode=True)))
    read = []
    loader = dataset.pipeline.transforms[0].loader
    monkeypatch.setattr(type(loader), "transform", _counting(type(loader).transform, read))
    for index in range(len(dataset)):
        # What a transform writes into a tile is none of the next one's.
        dataset.pipeline.transforms[0](dataset.get_data_info(index))["img"][:] = 0
    assert len(read) == 3
    assert dataset[1]["inputs"].float().mean() > 1
    # What is held stays behind when a worker is started anew.
    assert len(pickle.dumps(dataset.pipeline.transforms[0])) < 2000


def _counting(transform, read):
    def counted(self, results):
        read.append(results["img_path"])
        return transform(self, results)

    return counted


def test_tiles_pass_through_workers_and_batches_of_one_shape(scenes):
    """Lists are pickled, `get_data_info` tells sides to the sampler, samples cross processes."""
    from mmdet.datasets import AspectRatioBatchSampler

    dataset = DATASETS.build(tiled(scenes, 100, dataset=dict(serialize_data=True)))
    sampler = DefaultSampler(dataset, shuffle=False)
    batches = AspectRatioBatchSampler(sampler, batch_size=2)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=1, collate_fn=list)
    seen = [sample["data_samples"] for batch in loader for sample in batch]
    assert len(seen) == len(dataset)
    for batch in batches:
        sides = [
            dataset.get_data_info(i)["width"] < dataset.get_data_info(i)["height"] for i in batch
        ]
        assert len(set(sides)) == 1


def test_mosaics_mix_tiles_and_keep_what_they_hold_where_resuming_looks(scenes):
    # mmdet's mosaic takes boxes alone.
    load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)]
    inner = tiled(scenes, 64, dataset=dict(pipeline=load))
    mixed = dict(
        type="MultiImageMixDataset",
        dataset=inner,
        pipeline=[
            dict(type="Mosaic", img_scale=(64, 64)),
            dict(type="PackDetInputs", meta_keys=("img_id",)),
        ],
    )
    sample = build_checked(mixed, Ledger(), skip=False)[0]
    assert sample["inputs"].shape == (3, 128, 128) and len(sample["data_samples"].gt_instances)
    cached = dict(type="CachedMosaic", img_scale=(64, 64), max_cached_images=8)
    dataset = DATASETS.build(tiled(scenes, dataset=dict(pipeline=[*load, cached])))
    assert [type(one).__name__ for one in cached_transforms(dataset)] == ["CachedMosaic"]


def test_another_pipeline_loads_tiles_as_well(scenes):
    """As mmdet's PipelineSwitchHook assigns one for the last epochs."""
    dataset = DATASETS.build(tiled(scenes))
    dataset.pipeline = Compose([dict(step) for step in coco_dataset(scenes)["pipeline"]])
    assert dataset[0]["inputs"].shape == (3, 64, 64) and dataset[0]["data_samples"].tile.x == 0


def test_bad_images_are_named_and_can_be_left_out(scenes, tmp_path):
    for file in scenes.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    cv2.imwrite(str(tmp_path / "4.png"), np.zeros((170, 130, 3), np.uint8))
    strict = build_checked(tiled(tmp_path), Ledger(), skip=False)
    place = next(i for i in range(len(strict)) if strict.get_data_info(i)["img_id"] == 4)
    said = "4.png.*the image is 130 x 170, its annotations say 140 x 170"
    with pytest.raises(DataError, match=said):
        strict[place]
    lenient = build_checked(tiled(tmp_path), Ledger(tmp_path / "bad.jsonl"), skip=True)
    assert lenient[place]["data_samples"].img_id != 4
    assert "4.png" in (tmp_path / "bad.jsonl").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(size=16), "tile is 16, wanted"),
        (dict(overlap=1.0), "overlap is 1.0, wanted"),
        (dict(min_visible=40), "min_visible is 40, wanted"),
        (dict(keep_empty=2), "keep_empty is 2, wanted"),
        (dict(keep_images=-1), "keep_images is -1, wanted"),
        (dict(keep_empty=0.5, dataset=dict(test_mode=True)), "a test, which needs every tile"),
        (dict(dataset=dict(pipeline=[dict(type="PackDetInputs")])), "nothing that loads an image"),
        (
            dict(
                dataset=dict(
                    pipeline=[
                        dict(type="LoadImageFromFile"),
                        dict(type="LoadAnnotations", with_seg=True),
                    ]
                )
            ),
            "leave with_seg out",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_be_no_tiles_is_refused(scenes, change, said):
    with pytest.raises(UsageError, match=said):
        DATASETS.build(tiled(scenes, **change))


def test_wrappers_go_around_it(scenes):
    repeated = dict(type="RepeatDataset", times=2, dataset=tiled(scenes))
    assert len(DATASETS.build(repeated)) == 2 * len(DATASETS.build(tiled(scenes)))
    inside = dict(
        type="TiledDataset", size=64, dataset=dict(repeated, dataset=coco_dataset(scenes))
    )
    with pytest.raises(UsageError, match="put that around TiledDataset"):
        DATASETS.build(inside)
