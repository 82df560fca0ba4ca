"""Images prepared by a file's metadata are those that the config's own pipeline prepares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

from mmmamba.config.open import open_config
from mmmamba.datasets.nodes import dataset_of_tests
from mmmamba.errors import UsageError
from mmmamba.exporting.describing import metadata_of
from mmmamba.exporting.metadata import Inputs
from mmmamba.exporting.preparing import prepare
from mmmamba.exporting.verify import draw

from .test_describing import CONFIGS, Boxes, preprocessing_of

SIZES = ((333, 500), (101, 37))


@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/mambavision_t_1x_coco",
        "mamba_yolo/mamba_yolo_t_300e_coco",
        "yolo/vmamba_t_rtmdet_36e_coco",
        "upernet/plainmamba_l1_160k_ade20k-512x512",
    ],
)
def test_as_the_config_prepares_them(name):
    cfg = open_config(CONFIGS / f"{name}.py")
    model = preprocessing_of(cfg)
    inputs = metadata_of(Boxes(), model, cfg, format="onnx", batch=None).inputs
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        steps = dataset_of_tests(cfg)["pipeline"]
        steps = [step for step in steps if not step["type"].startswith("Load")]
        pipeline = Compose(steps)
    for size in SIZES:
        image = draw(*size)
        packed = pipeline(dict(img=image, img_shape=size, ori_shape=size, img_id=0, img_path=""))
        data = model.data_preprocessor(pseudo_collate([packed]))
        meta = data["data_samples"][0].metainfo
        made = prepare(image, inputs)
        assert made.image.shape == data["inputs"].shape[1:]
        torch.testing.assert_close(torch.from_numpy(made.image), data["inputs"][0])
        assert made.seen == tuple(meta["img_shape"])
        # A second resize, to a multiple, is not in mmseg's factor.
        if inputs.multiple == 1:
            assert made.factor[::-1] == pytest.approx(meta["scale_factor"])
        top, _, left, _ = meta.get("pad_param", (0, 0, 0, 0))
        assert made.corner == (top, left)


@pytest.mark.parametrize(
    "resize, scale, size, inner",
    [
        # Made smaller where the file's size is, whatever the scale.
        ("keep_ratio", (1333, 800), (800, 1344), (800, 1067)),
        ("keep_ratio", (1333, 800), (400, 400), (300, 400)),
        ("letterbox", (640, 640), (640, 640), (480, 640)),
        ("letterbox", (640, 640), (320, 640), (320, 427)),
        ("stretch", (64, 48), (320, 640), (320, 640)),
        ("none", None, (600, 800), (480, 640)),
        ("none", None, (600, 320), (240, 320)),
    ],
)
def test_images_fit_into_a_size(resize, scale, size, inner):
    inputs = Inputs(resize=resize, scale=scale, size=size, pad_value=(9.0,) * 3)
    made = prepare(draw(480, 640), inputs)
    assert made.image.shape == (3, *size)
    assert made.inner == inner
    assert made.seen == inner
    assert (made.image[:, inner[0] :] == 9).all()
    centred = prepare(draw(480, 640), replace(inputs, pad_place="centre", sizes_with_padding=True))
    assert centred.seen == size
    assert centred.corner == ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)


def test_a_grey_image():
    inputs = Inputs(
        channels=1, channel_order="grey", mean=(5.0,), std=(2.0,), resize="stretch", scale=(8, 6)
    )
    image = np.full((12, 16), 15, np.uint8)
    made = prepare(image, inputs)
    assert made.image.shape == (1, 6, 8)
    assert (made.image == 5).all()
    with pytest.raises(UsageError, match="an image has 3 channels and the file takes 1"):
        prepare(draw(6, 8), inputs)
