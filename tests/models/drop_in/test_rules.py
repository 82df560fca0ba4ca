"""What the rules write into configs of mmdet and mmseg, for each kind of neck and head."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from benchmarks.drop_in.cases import config_path
from mmmamba.errors import UsageError
from mmmamba.models.drop_in import Level, drop_in, drop_in_lines, levels_of

V = [96, 192, 384, 768]
FPN = "mmdet/retinanet/retinanet_r50_fpn_1x_coco.py"
YOLOX = "mmdet/yolox/yolox_s_8xb8-300e_coco.py"
FCN = "mmseg/fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py"
TRACKER = "mmdet/qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py"
CENTERNET = "mmdet/centernet/centernet_r18_8xb16-crop512-140e_coco.py"
DMNET = "mmseg/dmnet/dmnet_r50-d8_4xb4-80k_ade20k-512x512.py"
SSD = "mmdet/ssd/ssd300_coco.py"
EFFICIENTNET = "mmdet/efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py"
VIT = "mmseg/vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py"
SEGMENTER = "mmseg/segmenter/segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512.py"


def changed(config: str, arch: str = "vmamba_t") -> dict:
    return drop_in(Config.fromfile(config_path(config)), arch).model


def given(backbone: dict) -> dict:
    return {key: value for key, value in backbone.items() if key not in ("type", "arch")}


@pytest.mark.parametrize(
    ("config", "indices", "neck"),
    [
        (FPN, None, dict(in_channels=V)),
        (YOLOX, (1, 2, 3), dict(in_channels=V[1:])),
        ("mmdet/rtmdet/rtmdet_s_8xb32-300e_coco.py", (1, 2, 3), dict(in_channels=V[1:])),
        ("mmdet/yolo/yolov3_d53_8xb8-320-273e_coco.py", (1, 2, 3), dict(in_channels=V[:0:-1])),
        ("mmdet/yolof/yolof_r50-c5_8xb8-1x_coco.py", (3,), dict(in_channels=768)),
        ("mmdet/detr/detr_r50_8xb2-150e_coco.py", (3,), dict(in_channels=[768])),
        ("mmdet/dino/dino-4scale_r50_8xb2-12e_coco.py", (1, 2, 3), dict(in_channels=V[1:])),
        (CENTERNET, None, dict(in_channels=768)),
        (EFFICIENTNET, (1, 2, 3), dict(in_channels=V[1:])),
        (SSD, (1, 2), dict(in_channels=(192, 384), out_channels=(192, 384, 512, 256, 256, 256))),
        (VIT, None, dict(in_channels=V, scales=[1] * 4)),
    ],
)
def test_necks(config, indices, neck):
    model = changed(config)
    assert model.backbone.get("out_indices") == indices
    assert {key: model.neck[key] for key in neck} == neck


def test_a_list_of_necks_changes_its_first():
    neck = changed("mmdet/dyhead/atss_r50_fpn_dyhead_1x_coco.py").neck
    assert neck[0].in_channels == V and neck[1].in_channels == 256


def test_the_heads_of_ssd_know_the_widths_of_its_neck():
    model = changed(SSD)
    assert model.bbox_head.in_channels == model.neck.out_channels


def test_a_head_without_a_neck():
    model = changed("mmdet/mask2former/mask2former_r50_8xb2-lsj-50e_coco.py")
    assert model.panoptic_head.in_channels == V


def test_the_detector_of_a_tracker():
    model = changed(TRACKER)
    assert model.detector.backbone.type == "VMamba" and model.detector.neck.in_channels == V


def test_heads_of_mmseg_by_their_index():
    model = changed(FCN)
    assert given(model.backbone) == {} and model.pretrained is None
    assert model.decode_head.in_channels == 768 and model.auxiliary_head.in_channels == 384
    plus = changed("mmseg/deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py")
    assert plus.decode_head.c1_in_channels == 96
    knet = changed("mmseg/knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py").decode_head
    assert knet.kernel_generate_head.in_channels == 768
    assert knet.kernel_update_head[0].in_channels == 512


def test_maps_that_are_lacking_and_not_read():
    model = changed(FCN, "mobilemamba_b1")
    heads = model.decode_head, model.auxiliary_head
    assert [(head.in_channels, head.in_index % 3) for head in heads] == [(448, 2), (376, 1)]
    with pytest.raises(UsageError, match="wants 4 maps, mobilemamba_b1 gives 3"):
        changed(
            "mmseg/deeplabv3plus/deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512.py", "mobilemamba_b1"
        )


def test_a_pyramid_that_begins_where_the_backbone_does():
    neck = changed(FPN, "mamba_yolo_t").neck
    assert (neck.in_channels, neck.start_level, neck.num_outs) == ([64, 128, 256], 0, 5)


@pytest.mark.parametrize("config", [CENTERNET, DMNET])
def test_heads_that_view_maps_get_them_contiguous(config):
    assert given(changed(config).backbone) == dict(contiguous_maps=True)


def test_a_backbone_of_a_package_that_is_not_there():
    cfg = Config.fromfile(config_path(FPN))
    cfg.model.backbone = dict(type="NowhereNet")
    with pytest.raises(UsageError, match="NowhereNet.* is not known here"):
        drop_in(cfg, "vmamba_t")


def test_maps_that_a_neck_hands_on():
    model = changed("mmseg/fastfcn/fastfcn_r50-d32_jpu_enc_4xb4-80k_ade20k-512x512.py")
    assert model.neck.in_channels == (192, 384, 768) and isinstance(model.neck.in_channels, tuple)
    assert model.decode_head.in_channels == [192, 384, 2048]
    assert model.auxiliary_head.in_channels == 384


def test_a_segmentor_at_strides_that_nobody_has_takes_the_nearest():
    model = changed("mmseg/unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py")
    assert model.backbone.out_indices == (0,)
    assert [model[head].in_index for head in ("decode_head", "auxiliary_head")] == [0, 0]


def test_a_neck_that_has_nothing_left_to_do_goes():
    config = "mmseg/beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py"
    assert changed(config).neck is None and changed(config).decode_head.in_channels == V
    plain = changed(config, "vim_t")
    assert plain.neck.embed_dim == 192 and given(plain.backbone) == {}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (FPN, dict(pyramid=True, pad=True)),
        (YOLOX, dict(pyramid=(8, 16, 32), pad=True, out_indices=(11, 17, 23))),
        ("mmdet/detr/detr_r50_8xb2-150e_coco.py", dict(pyramid=(32,), pad=True, out_indices=(23,))),
        (FCN, {}),
        (SEGMENTER, dict(out_indices=(23,))),
    ],
)
def test_plain_columns_come_to_the_strides_that_are_wanted(config, wanted):
    assert given(changed(config, "vim_t").backbone) == wanted


def test_a_backbone_that_begins_late_gets_a_neck_that_begins_early():
    neck = changed(FPN, "mobilemamba_b1").neck
    assert neck.type == "EfficientViTFPN" and neck.in_channels == [200, 376, 448]
    assert (neck.num_extra_trans_convs, neck.num_outs, neck.add_extra_convs) == (1, 5, "on_input")
    with pytest.raises(
        UsageError, match="strides 8, 16, 32; mobilemamba_b1 gives maps at 16, 32, 64"
    ):
        changed(YOLOX, "mobilemamba_b1")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("mmdet/faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py", "C4"),
        ("mmdet/faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py", "DC5"),
        ("mmdet/tridentnet/tridentnet_r50-caffe_1x_coco.py", "three branches"),
        ("mmdet/detectors/detectors_cascade-rcnn_r50_1x_coco.py", "DetectoRS"),
        ("mmdet/cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py", "hourglass"),
        ("mmseg/dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py", "class token"),
        ("mmseg/san/san-vit-b16_voc12aug-640x640.py", "CLIP"),
        ("mmseg/setr/setr_vit-l_mla_8xb2-160k_ade20k-512x512.py", "adds up maps of one size"),
    ],
)
def test_what_cannot_be_says_why(config, reason):
    with pytest.raises(UsageError, match=reason):
        changed(config)


def test_a_width_that_the_old_backbone_does_not_give():
    cfg = Config.fromfile(config_path(FCN))
    cfg.model.decode_head.in_channels = 999
    with pytest.raises(UsageError, match="decode_head.in_channels of fcn_r50.* is 999, but its"):
        drop_in(cfg, "vmamba_t")


def test_images_are_those_of_the_published_weights():
    model = changed(YOLOX)
    assert model.data_preprocessor.mean[0] == 123.675 and model.data_preprocessor.bgr_to_rgb
    assert model.data_preprocessor.pad_size_divisor == 32


def test_the_given_config_stays_as_it_was_and_arguments_reach_the_backbone():
    cfg = Config.fromfile(config_path(FPN))
    new = drop_in(cfg, "vmamba_t", drop_path_rate=0.3)
    assert cfg.model.backbone.type == "ResNet" and new.model.backbone.drop_path_rate == 0.3


def test_levels_of_any_backbone():
    dilated = dict(type="ResNet", depth=18, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1))
    assert levels_of(dilated, "mmdet") == [Level(64, 4), *(Level(64 * 2**i, 8) for i in (1, 2, 3))]


@pytest.mark.parametrize(
    ("config", "arch"),
    [
        (FPN, "mobilemamba_b1"),
        (YOLOX, "vim_t"),
        ("mmdet/dyhead/atss_r50_fpn_dyhead_1x_coco.py", "vmamba_t"),
        (TRACKER, "vmamba_t"),
        ("mmseg/ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py", "vmamba_t"),
        ("mmseg/beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py", "vmamba_t"),
    ],
)
def test_the_lines_under_the_base_make_the_same_model(config: str, arch: str, tmp_path: Path):
    base = Config.fromfile(config_path(config))
    mine = tmp_path / "mine.py"
    mine.write_text(f"_base_ = {str(config_path(config))!r}\n{drop_in_lines(base, arch)}\n")
    assert Config.fromfile(mine).model == drop_in(base, arch).model


def test_the_lines_as_a_user_reads_them():
    assert (
        drop_in_lines(Config.fromfile(config_path(FPN)), "vmamba_t")
        == """\
custom_imports = dict(imports=["mmmamba"])
model = dict(
    backbone=dict(_delete_=True, type="VMamba", arch="vmamba_t"),
    neck=dict(in_channels=[96, 192, 384, 768]),
)"""
    )


def test_a_backbone_without_maps_for_a_neck_that_resizes_says_so():
    with pytest.raises(UsageError, match="strides 4, 8, 16, 32; mobilemamba_b1 gives maps at 16"):
        changed(VIT, "mobilemamba_b1")
