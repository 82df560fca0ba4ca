"""One config of each method that mmdet and mmseg ship, and what a step of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("mmdet", "mmseg")
BACKBONES = ("vmamba_t", "mambavision_t", "efficientvmamba_t", "vim_t")
CONTROL = "unmodified"


@dataclass(frozen=True)
class Case:
    """A config and the inputs for it."""

    config: str
    """Below the folder of the method."""
    kind: str = "detector"
    """detector, segmentor, tracker (pairs of frames), proposals (regions are given) or teacher."""
    size: tuple[int, int] = (128, 160)
    empty: bool = True
    """One of the two images has nothing in it."""
    odd: bool = True
    """The image to predict has odd sides."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the config's model, beyond what every case gets."""


def config_path(name: str) -> Path:
    """The file of a config named as `mmdet/retinanet/retinanet_r50_fpn_1x_coco.py`."""
    package, _, inside = name.partition("/")
    root = Path(find_spec(package).submodule_search_locations[0]) / ".mim" / "configs"
    return root / inside


def folders(package: str) -> list[str]:
    """The methods of an installed package: its folders that hold configs."""
    root = config_path(f"{package}/")
    return sorted(
        path.name for path in root.iterdir() if path.name != "_base_" and any(path.glob("*.py"))
    )


IN_THE_IMAGE = {f"roi_head.bbox_head.{i}.bbox_coder.clip_border": True for i in range(6)}
"""Boxes of untrained weights lie outside it, where mmdet cannot paste masks."""

DETECTORS = {
    "albu_example": Case("mask-rcnn_r50_fpn_albu-1x_coco"),
    "atss": Case("atss_r50_fpn_1x_coco"),
    "autoassign": Case("autoassign_r50-caffe_fpn_1x_coco"),
    "boxinst": Case("boxinst_r50_fpn_ms-90k_coco"),
    "bytetrack": Case("yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval"),
    "carafe": Case("faster-rcnn_r50_fpn-carafe_1x_coco"),
    "cascade_rcnn": Case("cascade-rcnn_r50_fpn_1x_coco"),
    "cascade_rpn": Case("cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco"),
    "centernet": Case("centernet_r18_8xb16-crop512-140e_coco"),
    "centripetalnet": Case("centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco"),
    "cityscapes": Case("mask-rcnn_r50_fpn_1x_cityscapes"),
    "clrnet": Case("clrnet"),
    "condinst": Case("condinst_r50_fpn_ms-poly-90k_coco_instance"),
    "conditional_detr": Case("conditional-detr_r50_8xb2-50e_coco"),
    "convnext": Case("mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco"),
    "cornernet": Case("cornernet_hourglass104_8xb6-210e-mstest_coco"),
    "crowddet": Case("crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman"),
    "dab_detr": Case("dab-detr_r50_8xb2-50e_coco"),
    "dcn": Case("faster-rcnn_r50_fpn_dpool_1x_coco"),
    "dcnv2": Case("faster-rcnn_r50_fpn_mdpool_1x_coco"),
    "ddod": Case("ddod_r50_fpn_1x_coco"),
    "ddq": Case("ddq-detr-4scale_r50_8xb2-12e_coco"),
    "deepfashion": Case("mask-rcnn_r50_fpn_15e_deepfashion"),
    "deepsort": Case("deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval"),
    "deformable_detr": Case("deformable-detr_r50_16xb2-50e_coco"),
    "detectors": Case("cascade-rcnn_r50-rfp_1x_coco"),
    "detr": Case("detr_r50_8xb2-150e_coco"),
    "dino": Case("dino-4scale_r50_8xb2-12e_coco", settings={"num_queries": 100}),
    "double_heads": Case("dh-faster-rcnn_r50_fpn_1x_coco"),
    "dsdl": Case("coco"),
    "dyhead": Case("atss_r50_fpn_dyhead_1x_coco"),
    "dynamic_rcnn": Case("dynamic-rcnn_r50_fpn_1x_coco"),
    "efficientnet": Case("retinanet_effb3_fpn_8xb4-crop896-1x_coco"),
    "empirical_attention": Case("faster-rcnn_r50-attn0010_fpn_1x_coco"),
    "fast_rcnn": Case("fast-rcnn_r50_fpn_1x_coco", "proposals"),
    "faster_rcnn": Case("faster-rcnn_r50_fpn_1x_coco"),
    "fcos": Case("fcos_r50-caffe_fpn_gn-head_1x_coco"),
    "foveabox": Case("fovea_r50_fpn_4xb4-1x_coco"),
    "fpg": Case("retinanet_r50_fpg_crop640_50e_coco"),
    "free_anchor": Case("freeanchor_r50_fpn_1x_coco"),
    "fsaf": Case("fsaf_r50_fpn_1x_coco"),
    "gcnet": Case("mask-rcnn_r50-syncbn_fpn_1x_coco"),
    "gfl": Case("gfl_r50_fpn_1x_coco"),
    "ghm": Case("retinanet_r50_fpn_ghm-1x_coco"),
    "glip": Case("glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365"),
    "gn": Case("mask-rcnn_r50_fpn_gn-all_2x_coco"),
    "gn+ws": Case("faster-rcnn_r50_fpn_gn-ws-all_1x_coco"),
    "grid_rcnn": Case("grid-rcnn_r50_fpn_gn-head_1x_coco"),
    "groie": Case("faste-rcnn_r50_fpn_groie_1x_coco"),
    "grounding_dino": Case("grounding_dino_r50_scratch_8xb2_1x_coco"),
    "guided_anchoring": Case("ga-faster-rcnn_r50_fpn_1x_coco"),
    "hrnet": Case("faster-rcnn_hrnetv2p-w18-1x_coco"),
    "htc": Case("htc_r50_fpn_1x_coco"),
    "instaboost": Case("mask-rcnn_r50_fpn_instaboost-4x_coco"),
    "lad": Case("lad_r50-paa-r101_fpn_2xb8_coco_1x"),
    "ld": Case("ld_r18-gflv1-r101_fpn_1x_coco"),
    "legacy_1.x": Case("faster-rcnn_r50_fpn_1x_coco_v1"),
    "libra_rcnn": Case("libra-faster-rcnn_r50_fpn_1x_coco"),
    "lvis": Case("mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1"),
    "mask2former": Case("mask2former_r50_8xb2-lsj-50e_coco"),
    "mask2former_vis": Case("mask2former_r50_8xb2-8e_youtubevis2019", "tracker"),
    "mask_rcnn": Case("mask-rcnn_r50_fpn_1x_coco"),
    "maskformer": Case("maskformer_r50_ms-16xb1-75e_coco"),
    "masktrack_rcnn": Case("masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019", "tracker"),
    "misc": Case("d2_faster-rcnn_r50-caffe_fpn_ms-90k_coco"),
    "mm_grounding_dino": Case("grounding_dino_swin-t_pretrain_obj365"),
    "ms_rcnn": Case("ms-rcnn_r50_fpn_1x_coco"),
    "nas_fcos": Case("nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco"),
    "nas_fpn": Case("retinanet_r50_nasfpn_crop640-50e_coco"),
    "objects365": Case("retinanet_r50_fpn_1x_objects365v1"),
    "ocsort": Case("ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval"),
    "openimages": Case("retinanet_r50_fpn_32xb2-1x_openimages"),
    "paa": Case("paa_r50_fpn_1x_coco"),
    "pafpn": Case("faster-rcnn_r50_pafpn_1x_coco"),
    "panoptic_fpn": Case("panoptic-fpn_r50_fpn_1x_coco"),
    "pascal_voc": Case("retinanet_r50_fpn_1x_voc0712"),
    "pisa": Case("faster-rcnn_r50_fpn_pisa_1x_coco"),
    "point_rend": Case("point-rend_r50-caffe_fpn_ms-1x_coco"),
    "pvt": Case("retinanet_pvt-t_fpn_1x_coco"),
    "qdtrack": Case("qdtrack_faster-rcnn_r50_fpn_4e_base", "tracker"),
    "queryinst": Case("queryinst_r50_fpn_1x_coco", settings=IN_THE_IMAGE),
    "regnet": Case("faster-rcnn_regnetx-3.2GF_fpn_1x_coco"),
    "reid": Case("reid_r50_8xb32-6e_mot17train80_test-mot17val20"),
    "reppoints": Case("reppoints-moment_r50_fpn_1x_coco"),
    "res2net": Case("faster-rcnn_res2net-101_fpn_2x_coco"),
    "resnest": Case("faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco"),
    "resnet_strikes_back": Case("faster-rcnn_r50-rsb-pre_fpn_1x_coco"),
    "retinanet": Case("retinanet_r50_fpn_1x_coco"),
    "rpn": Case("rpn_r50_fpn_1x_coco"),
    "rtmdet": Case("rtmdet-ins_tiny_8xb32-300e_coco"),
    "sabl": Case("sabl-faster-rcnn_r50_fpn_1x_coco"),
    "scnet": Case("scnet_r50_fpn_1x_coco"),
    "scratch": Case("faster-rcnn_r50-scratch_fpn_gn-all_6x_coco"),
    "seesaw_loss": Case("mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1"),
    "selfsup_pretrain": Case("mask-rcnn_r50-swav-pre_fpn_1x_coco"),
    "simple_copy_paste": Case("mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-90k_coco"),
    "soft_teacher": Case("soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco", "teacher"),
    "solo": Case("solo_r50_fpn_1x_coco"),
    "solov2": Case("solov2_r50_fpn_1x_coco"),
    "sort": Case("sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval"),
    "sparse_rcnn": Case("sparse-rcnn_r50_fpn_1x_coco"),
    "ssd": Case("ssd300_coco", size=(300, 300)),
    "strong_baselines": Case("mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-50e_coco"),
    "strongsort": Case("yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval"),
    "swin": Case("mask-rcnn_swin-t-p4-w7_fpn_1x_coco"),
    "timm_example": Case("retinanet_timm-tv-resnet50_fpn_1x_coco"),
    "tood": Case("tood_r50_fpn_1x_coco"),
    "tridentnet": Case("tridentnet_r50-caffe_1x_coco"),
    "v3det": Case("fcos_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x"),
    "vfnet": Case("vfnet_r50_fpn_1x_coco"),
    "wider_face": Case("retinanet_r50_fpn_1x_widerface"),
    "yolact": Case("yolact_r50_1xb8-55e_coco"),
    "yolo": Case("yolov3_d53_8xb8-320-273e_coco"),
    "yolof": Case("yolof_r50-c5_8xb8-1x_coco"),
    "yolox": Case("yolox_tiny_8xb8-300e_coco"),
}
SEGMENTORS = {
    "ann": "ann_r50-d8_4xb4-80k_ade20k-512x512",
    "apcnet": "apcnet_r50-d8_4xb4-80k_ade20k-512x512",
    "beit": "beit-base_upernet_8xb2-160k_ade20k-640x640",
    "bisenetv1": "bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024",
    "bisenetv2": "bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024",
    "ccnet": "ccnet_r50-d8_4xb4-80k_ade20k-512x512",
    "cgnet": "cgnet_fcn_4xb4-60k_cityscapes-680x680",
    "convnext": "convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512",
    "danet": "danet_r50-d8_4xb4-80k_ade20k-512x512",
    "ddrnet": "ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024",
    "deeplabv3": "deeplabv3_r50-d8_4xb4-80k_ade20k-512x512",
    "deeplabv3plus": "deeplabv3plus_r50-d8_4xb4-80k_ade20k-512x512",
    "dmnet": "dmnet_r50-d8_4xb4-80k_ade20k-512x512",
    "dnlnet": "dnl_r50-d8_4xb4-80k_ade20k-512x512",
    "dpt": "dpt_vit-b16_8xb2-160k_ade20k-512x512",
    "dsdl": "voc",
    "emanet": "emanet_r50-d8_4xb2-80k_cityscapes-769x769",
    "encnet": "encnet_r50-d8_4xb4-80k_ade20k-512x512",
    "erfnet": "erfnet_fcn_4xb4-160k_cityscapes-512x1024",
    "fastfcn": "fastfcn_r50-d32_jpu_enc_4xb4-80k_ade20k-512x512",
    "fastscnn": "fast_scnn_8xb4-160k_cityscapes-512x1024",
    "fcn": "fcn_r50-d8_4xb4-80k_ade20k-512x512",
    "gcnet": "gcnet_r50-d8_4xb4-80k_ade20k-512x512",
    "hrnet": "fcn_hr18_4xb4-80k_ade20k-512x512",
    "icnet": "icnet_r18-d8_4xb2-80k_cityscapes-832x832",
    "isanet": "isanet_r50-d8_4xb4-80k_ade20k-512x512",
    "knet": "knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512",
    "mae": "mae-base_upernet_8xb2-amp-160k_ade20k-512x512",
    "mask2former": "mask2former_r50_8xb2-160k_ade20k-512x512",
    "maskformer": "maskformer_r50-d32_8xb2-160k_ade20k-512x512",
    "mobilenet_v2": "mobilenet-v2-d8_fcn_4xb4-160k_ade20k-512x512",
    "mobilenet_v3": "mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024",
    "nonlocal_net": "nonlocal_r50-d8_4xb4-80k_ade20k-512x512",
    "ocrnet": "ocrnet_hr18_4xb4-80k_ade20k-512x512",
    "pidnet": "pidnet-s_2xb6-120k_1024x1024-cityscapes",
    "point_rend": "pointrend_r50_4xb4-160k_ade20k-512x512",
    "poolformer": "fpn_poolformer_s12_8xb4-40k_ade20k-512x512",
    "psanet": "psanet_r50-d8_4xb4-80k_ade20k-512x512",
    "pspnet": "pspnet_r50-d8_4xb4-80k_ade20k-512x512",
    "resnest": "resnest_s101-d8_fcn_4xb4-160k_ade20k-512x512",
    "san": "san-vit-b16_voc12aug-640x640",
    "segformer": "segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "segmenter": "segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512",
    "segnext": "segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512",
    "sem_fpn": "fpn_r50_4xb4-160k_ade20k-512x512",
    "setr": "setr_vit-l_naive_8xb2-160k_ade20k-512x512",
    "stdc": "stdc1_4xb12-80k_cityscapes-512x1024",
    "swin": "swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512",
    "twins": "twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512",
    "unet": "unet-s5-d16_fcn_4xb4-40k_drive-64x64",
    "upernet": "upernet_r50_4xb4-80k_ade20k-512x512",
    "vit": "vit_deit-s16_upernet_8xb2-80k_ade20k-512x512",
    "vpd": "vpd_sd_4xb8-25k_nyu-512x512",
}
CASES: dict[str, Case] = {
    **{f"mmdet/{name}": case for name, case in DETECTORS.items()},
    **{f"mmseg/{name}": Case(config, "segmentor") for name, config in SEGMENTORS.items()},
}
# As shipped they take no other sides: branches that must meet, or one table of positions.
for _name in ("mmseg/beit", "mmseg/ddrnet", "mmseg/mae", "mmseg/pidnet", "mmseg/unet"):
    CASES[_name] = replace(CASES[_name], size=(128, 192), odd=False)
# LR-ASPP pools 49 cells at stride 8.
CASES["mmseg/mobilenet_v3"] = replace(CASES["mmseg/mobilenet_v3"], size=(416, 416))
NO_METHOD = {"mmdet/common": "schedules and data pipelines for other folders"}
"""Folders without a model of their own."""
