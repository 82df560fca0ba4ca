"""Heads that were built for other maps than they get are refused, with the lines that mend it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope

import mmmamba.detection  # noqa: F401
from mmmamba.engine.preflight import check_fit
from mmmamba.errors import UsageError
from mmmamba.models.map_check import MapError, check_maps, strides_after_neck

CONFIGS = Path(__file__).parents[2] / "configs"
VMAMBA = dict(type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)))
VIM = dict(type="Vim", arch=dict(embed_dims=16, depth=12, d_state=4, img_size=64))


def built(name: str, backbone: dict, neck: dict | None = None):
    cfg = get_config(name)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone = backbone
    cfg.model.pop("init_cfg", None)
    if neck is not None:
        cfg.model.neck.update(neck)
    return MODELS.build(cfg.model).train()


# Lines that ask for a map at stride 4 where none fits: name, neck's widths, and the cure's
# `out_indices` and widths.
WRONG = {
    "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py": ([16, 32, 64], (1, 2, 3), [32, 64, 128]),
    "mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py": ([16, 32, 64], (1, 2, 3), [32, 64, 128]),
    "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py": ([16, 32, 64], (1, 2, 3), [32, 64, 128]),
    "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py": (
        [32, 64, 128],
        (0, 1, 2, 3),
        [16, 32, 64, 128],
    ),
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py": (
        [32, 64, 128],
        (0, 1, 2, 3),
        [16, 32, 64, 128],
    ),
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": (
        [32, 64, 128],
        (0, 1, 2, 3),
        [16, 32, 64, 128],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_strides_are_named_with_the_lines_that_mend_them(name: str) -> None:
    widths, indices, right = WRONG[name]
    given = tuple(range(4))[:3] if len(indices) == 3 else (1, 2, 3)
    model = built(name, VMAMBA | dict(out_indices=given), dict(in_channels=widths))
    with pytest.raises(MapError, match="was built for maps of strides") as error:
        check_maps(model)
    lines = str(error.value).splitlines()
    assert (
        f"backbone=dict(out_indices={indices})," in lines[-2]
        and f"neck=dict(in_channels={right})" in lines[-1]
    )
    mended = built(name, VMAMBA | dict(out_indices=indices), dict(in_channels=right))
    check_maps(mended)


def test_columns_are_told_of_their_pyramid() -> None:
    name = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"
    model = built(name, VIM | dict(out_indices=(5, 8, 11)), dict(in_channels=[16, 16, 16]))
    with pytest.raises(
        MapError, match=re.escape("backbone=dict(out_indices=(5, 8, 11), pyramid=(8, 16, 32)),")
    ):
        check_maps(model)
    check_maps(
        built(
            name,
            VIM | dict(out_indices=(5, 8, 11), pyramid=(8, 16, 32)),
            dict(in_channels=[16, 16, 16]),
        )
    )


def test_strides_that_no_map_has_point_to_the_page() -> None:
    backbone = dict(type="MobileMamba", arch=dict(embed_dims=(40, 64, 80), depths=(1, 1, 1)))
    model = built(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", backbone, dict(in_channels=[40, 64, 80])
    )
    with pytest.raises(
        MapError, match=r"MobileMamba gives maps of strides 16, 32, 64.*docs/drop_in.md"
    ):
        check_maps(model)


def test_a_first_pass_checks_whatever_tool_makes_it() -> None:
    """mmdet's own tools know nothing of the check."""
    name = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"
    images = torch.zeros(1, 3, 64, 64)
    wrong = built(name, VMAMBA | dict(out_indices=(0, 1, 2)), dict(in_channels=[16, 32, 64]))
    with pytest.raises(MapError, match="strides 8, 16, 32"):
        wrong(images, mode="tensor")
    right = built(name, VMAMBA | dict(out_indices=(1, 2, 3)), dict(in_channels=[32, 64, 128]))
    before = {key: value.clone() for key, value in right.state_dict().items()}
    modes, random = [m.training for m in right.modules()], torch.get_rng_state()
    check_maps(right)
    assert [m.training for m in right.modules()] == modes and torch.equal(
        torch.get_rng_state(), random
    )
    assert all(torch.equal(value, before[key]) for key, value in right.state_dict().items())
    right.extract_feat = None
    with pytest.raises(TypeError, match="NoneType"):
        right(images, mode="tensor")
    assert not right._forward_pre_hooks


def test_necks_of_other_widths_are_named() -> None:
    name = "mmdet::libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py"
    with pytest.raises(
        UsageError,
        match=re.escape("neck=[dict(type='FPN', in_channels=[16, 32, 64, 128], ...), ...]"),
    ):
        check_fit(built(name, VMAMBA))


def segmentor(backbone: dict, **head):
    cfg = Config.fromfile(CONFIGS / "upernet/vmamba_t_160k_ade20k-512x512.py")
    init_default_scope("mmseg")
    head = dict(type="FCNHead", in_channels=128, in_index=3, channels=8, num_classes=4) | head
    model = dict(
        type="EncoderDecoder", backbone=backbone, decode_head=head, test_cfg=dict(mode="whole")
    )
    return MODELS.build(model | dict(data_preprocessor=cfg.model.data_preprocessor))


@pytest.mark.parametrize(
    "key, value, line",
    [
        ("in_channels", 999, "decode_head=dict(in_channels=128)"),
        (
            "in_index",
            5,
            "reads the maps in_index=[5]; VMamba gives 4. Write decode_head=dict(in_index=...)",
        ),
    ],
)
def test_segmentation_heads_of_other_widths_are_named(key: str, value: int, line: str) -> None:
    check_fit(segmentor(VMAMBA))
    with pytest.raises(UsageError, match=re.escape(line)):
        check_fit(segmentor(VMAMBA, **{key: value}))


def test_ssds_strides_are_those_of_its_one_size() -> None:
    cfg = get_config("mmdet::ssd/ssd300_coco.py")
    cfg.model.backbone = VMAMBA | dict(out_indices=(1, 2))
    widths = (32, 64, *cfg.model.neck.out_channels[2:])
    cfg.model.neck.update(in_channels=(32, 64), out_channels=widths, l2_norm_scale=None)
    cfg.model.bbox_head.in_channels = widths
    init_default_scope("mmdet")
    check_maps(MODELS.build(cfg.model))


def test_strides_are_seen_after_the_neck() -> None:
    model = built(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
        VMAMBA | dict(out_indices=(1, 2, 3)),
        dict(in_channels=[32, 64, 128], start_level=0),
    )
    assert strides_after_neck(model) == [8, 16, 32, 64, 128]
    check_maps(model)


def test_heads_that_view_channels_last_maps_are_told_of_contiguous_ones() -> None:
    head = dict(type="DMHead", filter_sizes=(1, 3))
    with pytest.raises(MapError, match=re.escape("Write backbone=dict(contiguous_maps=True)")):
        check_maps(segmentor(VMAMBA, **head))
    check_maps(segmentor(VMAMBA | dict(contiguous_maps=True), **head))
