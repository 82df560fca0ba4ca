"""The detectors and segmentors that mmdet and mmseg ship: a training step, a prediction.

Their own config files, with less depth and fewer queries, no pretrained weights and images of 96
pixels.
"""

from pathlib import Path

import mmdet
import mmseg
import pytest
import torch
from mmdet.registry import MODELS as DETECTORS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules as register_mmdet
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS as SEGMENTORS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules as register_mmseg

SIZE = 96

# Few classes, so that an untrained softmax exceeds the score threshold and suppression has
# something to do.
CLASSES = 5

SHARED = {
    "train_cfg.rpn_proposal.max_per_img": 100,
    "test_cfg.rpn.max_per_img": 100,
    "test_cfg.rcnn.max_per_img": 10,
}
MASK_HEAD = {"roi_head.mask_head.num_classes": CLASSES, "roi_head.mask_head.num_convs": 1}
BOX_HEAD = {"fc_out_channels": 64, "num_classes": CLASSES}
BOXES = SHARED | {f"roi_head.bbox_head.{key}": value for key, value in BOX_HEAD.items()}
BOXES |= {"train_cfg.rcnn.sampler.num": 64}
CASCADE = SHARED | MASK_HEAD
for stage in range(3):
    CASCADE |= {f"roi_head.bbox_head.{stage}.{key}": value for key, value in BOX_HEAD.items()}
    CASCADE |= {f"train_cfg.rcnn.{stage}.sampler.num": 64}
R_CNN = BOXES | MASK_HEAD
DENSE = {"bbox_head.stacked_convs": 1}
# PyTorch's SyncBatchNorm refuses CPU tensors; mmcv's own, in the heads, does not.
UNSYNCED = {"backbone.norm_cfg.type": "BN", "neck.norm_cfg.type": "BN"}
UNSYNCED |= {"data_preprocessor.batch_augments": None}
POOLING = {"roi_head.bbox_roi_extractor.roi_layer.deform_fc_channels": 64}

DETECTION = {
    "mask_rcnn": ("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", R_CNN),
    "mask_rcnn_dcn": ("dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py", R_CNN),
    "mask_rcnn_dcn_v2": ("dcnv2/mask-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py", R_CNN),
    "faster_rcnn_soft_nms": ("faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py", BOXES),
    "faster_rcnn_dpool": ("dcn/faster-rcnn_r50_fpn_dpool_1x_coco.py", BOXES | POOLING),
    "faster_rcnn_mdpool": ("dcnv2/faster-rcnn_r50_fpn_mdpool_1x_coco.py", BOXES | POOLING),
    "faster_rcnn_pisa": ("pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py", BOXES),
    "mask_rcnn_carafe": ("carafe/mask-rcnn_r50_fpn-carafe_1x_coco.py", R_CNN),
    "mask_rcnn_syncbn": (
        "strong_baselines/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-100e_coco.py",
        R_CNN | UNSYNCED | {"roi_head.bbox_head.conv_out_channels": 32},
    ),
    "ga_retinanet": ("guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py", DENSE),
    "atss_dyhead": ("dyhead/atss_r50_fpn_dyhead_1x_coco.py", {"neck.1.num_blocks": 2}),
    "cascade_mask_rcnn": ("cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py", CASCADE),
    "retinanet": ("retinanet/retinanet_r50_fpn_1x_coco.py", DENSE),
    "fcos": ("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", DENSE),
    "rtmdet": ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", {}),
    "rtmdet_ins": ("rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", {}),
    "yolox": ("yolox/yolox_nano_8xb8-300e_coco.py", {"data_preprocessor.batch_augments": None}),
    "dino": (
        "dino/dino-4scale_r50_8xb2-12e_coco.py",
        {"num_queries": 50, "encoder.num_layers": 1, "decoder.num_layers": 2},
    ),
    "mask2former": (
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
        {
            "panoptic_head.num_queries": 20,
            "panoptic_head.transformer_decoder.num_layers": 3,
            "panoptic_head.pixel_decoder.encoder.num_layers": 1,
            "train_cfg.num_points": 512,
            "data_preprocessor.batch_augments": None,
        },
    ),
}

WITH_MASKS = {name for name in DETECTION if name.startswith(("mask_rcnn", "cascade_mask_rcnn"))}
WITH_MASKS |= {"rtmdet_ins", "mask2former"}

# mmcv's MaskedConv2d takes one image at a time.
ONE_IMAGE = {"ga_retinanet"}

# Their level embeddings are raw memory until init_weights.
WITH_RAW_EMBEDDINGS = {"dino", "mask2former"}

SEGMENTATION = {
    "psanet": (
        "psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        {"decode_head.channels": 64, "auxiliary_head.channels": 64},
    ),
    "upernet": ("upernet/upernet_r18_4xb4-160k_ade20k-512x512.py", {"decode_head.channels": 64}),
    "mask2former": (
        "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
        {
            "decode_head.num_queries": 20,
            "decode_head.transformer_decoder.num_layers": 3,
            "decode_head.pixel_decoder.encoder.num_layers": 1,
            "decode_head.train_cfg.num_points": 512,
        },
    ),
}


def model_config(package, path: str, options: dict) -> Config:
    config = Config.fromfile(Path(package.__file__).parent / ".mim/configs" / path)
    config.merge_from_dict({f"model.{key}": value for key, value in options.items()})
    model = config.model
    if "pretrained" in model:
        model.pretrained = None
    model.backbone.init_cfg = None
    return model


def train_a_step(model: BaseModel, data: dict) -> None:
    model.train()
    total, _ = model.parse_losses(model(**model.data_preprocessor(data, True), mode="loss"))
    assert torch.isfinite(total)
    total.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert any(name.startswith("backbone") and grad.abs().sum() > 0 for name, grad in grads.items())


@torch.no_grad()
def predict(model: BaseModel, data: dict) -> list:
    model.eval()
    return model(**model.data_preprocessor(data, False), mode="predict")


@pytest.mark.parametrize("name", DETECTION)
def test_detector_trains_and_predicts(name, device, request):
    if name == "mask_rcnn_syncbn":
        request.getfixturevalue("one_process")
    torch.manual_seed(0)
    register_mmdet(init_default_scope=True)
    model = DETECTORS.build(model_config(mmdet, *DETECTION[name])).to(device)
    if name in WITH_RAW_EMBEDDINGS:
        model.init_weights()
    data = demo_mm_inputs(
        2,
        [(3, SIZE, SIZE)] * 2,
        num_items=[3, 1],
        num_classes=CLASSES,
        with_mask=name in WITH_MASKS,
    )
    train_a_step(model, data)
    if name in ONE_IMAGE:
        data = {key: values[:1] for key, values in data.items()}
    for result in predict(model, data):
        found = result.pred_instances
        assert found.bboxes.shape == (len(found), 4) and torch.isfinite(found.bboxes).all()
        assert len(found) > 0
        assert ("masks" in found) == (name in WITH_MASKS)
        if "masks" in found:
            assert found.masks.shape[0] == len(found) and found.masks.dim() == 3


@pytest.mark.parametrize("name", SEGMENTATION)
def test_segmentor_trains_and_predicts(name, device):
    torch.manual_seed(0)
    register_mmdet(init_default_scope=False)
    register_mmseg(init_default_scope=True)
    config = model_config(mmseg, *SEGMENTATION[name])
    config.data_preprocessor.size = (SIZE, SIZE)
    # The shipped norm is SyncBN, which refuses CPU tensors.
    model = revert_sync_batchnorm(SEGMENTORS.build(config)).to(device)
    if name in WITH_RAW_EMBEDDINGS:
        model.init_weights()
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, SIZE, SIZE)))
        samples.append(sample)
    data = dict(
        inputs=list(torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)),
        data_samples=samples,
    )
    train_a_step(model, data)
    for result in predict(model, data):
        assert result.pred_sem_seg.data.shape == (1, SIZE, SIZE)
        assert torch.isfinite(result.seg_logits.data).all()
