"""What every backbone is trained with: one recipe a task, nothing tuned for any of them.

Small real data sets, from scratch, AdamW with warm-up and a cosine, bfloat16 autocast on a
GPU, the same images in the same order.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / "configs"
BLOOD_CELLS = ("RBC", "WBC", "Platelets")

_MOBILE_NECK = dict(type="EfficientViTFPN", out_channels=256, num_outs=5)
PEERS = {
    "resnet50": (dict(type="mmdet.ResNet", depth=50, norm_eval=False), [256, 512, 1024, 2048]),
    "swin_t": (dict(type="mmdet.SwinTransformer", drop_path_rate=0.0), [96, 192, 384, 768]),
}
OURS = {
    "vmamba_t": {},
    "mambavision_t": dict(window_size=(8, 8, 16, 8)),
    "localvmamba_t": {},
    "efficientvmamba_t": {},
    "vim_t": dict(pyramid=True, cls_token="none"),
    "localvim_t": dict(pyramid=True),
    "mobilemamba_t2": {},
    "msvmamba_n": {},
    "plainmamba_l1_det": {},
    "groupmamba_t": {},
    "mambar_t": dict(pyramid=True),
    "vim_f_t": dict(pyramid=True),
    "spatialmamba_t": {},
    "vssd_m": {},
    "mlla_t": {},
    "simba_s": {},
    "heracles_s": {},
    "mamba_nd_s": {},
    "res_vmamba_t": {},
    "medmamba_t": {},
    "rsmamba_b": dict(pyramid=True),
    "insectmamba_t": {},
}
"""Each family's smallest member, and what makes it a pyramid.

The rest is as published but for drop path.
"""
ROUTED = {
    "vmamba_t_fractal": ("vmamba_t", dict(routes="fractal")),
    "vmamba_t_fractal_shifted": (
        "vmamba_t",
        dict(routes="fractal", alternate_routes="fractal_shifted"),
    ),
}
"""Members that walk other routes than their published ones, trained when they are asked for."""


def _backbone(name: str) -> tuple[dict, list[int], dict]:
    """Its config, the widths of its maps and, where FPN would not do, its neck."""
    if name in PEERS:
        return (*PEERS[name], {})
    import mmmamba

    arch, settings = ROUTED[name] if name in ROUTED else (name, OURS[name])
    made = mmmamba.create_backbone(arch, **settings)
    config = dict(type=type(made).__name__, arch=arch, drop_path_rate=0.0, **settings)
    return config, list(made.out_channels), _MOBILE_NECK if name.startswith("mobilemamba") else {}


def _schedule(iterations: int, lr: float) -> dict:
    warmup = min(100, max(iterations // 5, 1))
    return dict(
        train_cfg=dict(
            _delete_=True, type="IterBasedTrainLoop", max_iters=iterations, val_interval=iterations
        ),
        optim_wrapper=dict(
            _delete_=True,
            clip_grad=dict(max_norm=5.0),
            **(
                dict(type="AmpOptimWrapper", dtype="bfloat16")
                if torch.cuda.is_available()
                else dict(type="OptimWrapper")
            ),
            optimizer=dict(type="AdamW", lr=lr, weight_decay=0.05),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.05, by_epoch=False, begin=0, end=warmup),
            dict(
                type="CosineAnnealingLR", by_epoch=False, begin=warmup, end=iterations, eta_min=1e-6
            ),
        ],
        randomness=dict(seed=0),
        log_processor=dict(by_epoch=False),
        default_hooks=dict(
            logger=dict(interval=50),
            checkpoint=dict(_delete_=True, type="CheckpointHook", interval=iterations),
        ),
        env_cfg=dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=1)),
    )


def _loader(batch: int, workers: int, dataset: dict, train: bool) -> dict:
    return dict(
        _delete_=True,
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type="InfiniteSampler" if train else "DefaultSampler", shuffle=train),
        dataset=dataset,
    )


def dsb2018(backbone: str, data: Path, iterations: int, workers: int) -> Config:
    """Cell nuclei: Mask R-CNN, one class, up to 500 detections an image."""
    config, widths, neck = _backbone(backbone)
    cfg = _base(
        "models/mask_rcnn_fpn", "datasets/coco_instance", "schedules/schedule_1x", "default_runtime"
    )
    root = str(data / "dsb2018")
    load = [
        dict(type="LoadImageFromFile", to_float32=False),
        dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    ]
    train = [
        *load,
        dict(type="RandomResize", scale=(512, 512), ratio_range=(0.7, 1.4), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(320, 320), allow_negative_crop=False),
        dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"]),
        dict(type="PackDetInputs"),
    ]
    test = [
        load[0],
        dict(type="Resize", scale=(512, 512), keep_ratio=True),
        load[1],
        dict(
            type="PackDetInputs",
            meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
        ),
    ]

    def split(name: str, pipeline: list, **more) -> dict:
        return dict(
            type="CocoDataset",
            data_root=root,
            ann_file=f"annotations/instances_{name}.json",
            data_prefix=dict(img=f"{name}/"),
            metainfo=dict(classes=("nucleus",)),
            pipeline=pipeline,
            **more,
        )

    evaluator = dict(
        _delete_=True,
        type="CocoMetric",
        ann_file=f"{root}/annotations/instances_val.json",
        metric=["bbox", "segm"],
        proposal_nums=(100, 300, 500),
    )
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=config,
                neck=(neck | dict(_delete_=True) if neck else {}) | dict(in_channels=widths),
                rpn_head=dict(anchor_generator=dict(scales=[4])),
                roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
                test_cfg=dict(rcnn=dict(max_per_img=500)),
            ),
            train_dataloader=_loader(
                4, workers, split("train", train, filter_cfg=dict(filter_empty_gt=True)), True
            ),
            val_dataloader=_loader(4, workers, split("val", test, test_mode=True), False),
            val_evaluator=evaluator,
            val_cfg=dict(type="ValLoop"),
            **_schedule(iterations, 2e-4),
        )
    )
    return cfg


def camvid(backbone: str, data: Path, iterations: int, workers: int) -> Config:
    """Street scenes: UperNet, 11 classes."""
    config, widths, neck = _backbone(backbone)
    cfg = _base(
        "models/upernet", "datasets/ade20k", "schedules/schedule_160k", "default_runtime_seg"
    )
    root = str(data / "camvid")
    load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", reduce_zero_label=True)]
    train = [
        *load,
        dict(type="RandomResize", scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(320, 320), cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackSegInputs"),
    ]
    test = [load[0], load[1], dict(type="PackSegInputs")]
    classes = tuple((data / "camvid" / "classes.txt").read_text().split("\n")[:11])

    def split(name: str, pipeline: list) -> dict:
        return dict(
            type="BaseSegDataset",
            data_root=root,
            metainfo=dict(classes=classes),
            reduce_zero_label=True,
            img_suffix=".jpg",
            seg_map_suffix=".png",
            pipeline=pipeline,
            data_prefix=dict(img_path=f"images/{name}", seg_map_path=f"annotations/{name}"),
        )

    if neck:
        neck, widths = neck | dict(in_channels=widths), [256] * 4
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=config,
                **(dict(neck=neck) if neck else {}),
                data_preprocessor=dict(size=(320, 320)),
                decode_head=dict(in_channels=widths, num_classes=11),
                auxiliary_head=dict(in_channels=widths[2], num_classes=11),
            ),
            train_dataloader=_loader(8, workers, split("training", train), True),
            val_dataloader=_loader(1, workers, split("validation", test), False),
            val_evaluator=dict(_delete_=True, type="IoUMetric", iou_metrics=["mIoU"]),
            val_cfg=dict(type="ValLoop"),
            **_schedule(iterations, 3e-4),
        )
    )
    return cfg


_YOLOX_S = dict(
    backbone=dict(
        type="CSPDarknet",
        deepen_factor=0.33,
        widen_factor=0.5,
        out_indices=(2, 3, 4),
        norm_cfg=dict(type="BN", momentum=0.03, eps=0.001),
        act_cfg=dict(type="Swish"),
    ),
    neck=dict(in_channels=[128, 256, 512]),
)
_MAMBA_YOLO_T = dict(
    backbone=dict(arch="mamba_yolo_t"),
    neck=dict(in_channels=[64, 128, 256]),
    bbox_head=dict(in_channels=[64, 128, 256]),
)
DETECTORS = {"mamba_yolo_t": ("mamba_yolo", _MAMBA_YOLO_T), "yolox_s": ("yolox_pafpn", _YOLOX_S)}
"""Whole detectors: the file of their base model and what it leaves open."""


def bccd(
    detector: str, data: Path, iterations: int, workers: int, classes: Sequence[str] = BLOOD_CELLS
) -> Config:
    """Blood cells: YOLO detectors at 640, with mosaic, the same augmentation for both.

    In float32: mmdet's YOLOX places its cells in the precision of its maps, to 4 pixels in
    bfloat16.
    """
    import mmmamba.detection  # noqa: F401

    base, model = DETECTORS[detector]
    cfg = _base(f"models/{base}", "datasets/coco_yolo", "schedules/schedule_1x", "default_runtime")
    cfg.custom_imports.imports = ["mmmamba.detection"]
    root = str(data / "bccd")

    def split(name: str, pipeline: list, **more) -> dict:
        return dict(
            type="CocoDataset",
            data_root=root,
            ann_file=f"annotations/instances_{name}.json",
            data_prefix=dict(img=f"{name}/"),
            metainfo=dict(classes=classes),
            pipeline=pipeline,
            **more,
        )

    # mmdet's head takes padding for part of the image unless it is at the right and the bottom.
    corner = Config.fromfile(CONFIGS / "_base_/recipes/yolo_36e_corner.py").test_pipeline
    test = cfg.test_pipeline if base == "mamba_yolo" else corner
    model = model | dict(bbox_head=model.get("bbox_head", {}) | dict(num_classes=len(classes)))
    cfg.merge_from_dict(
        dict(
            model=model,
            train_dataloader=_loader(16, workers, split("train", cfg.train_pipeline), True),
            val_dataloader=_loader(1, workers, split("val", test, test_mode=True), False),
            val_evaluator=dict(
                _delete_=True,
                type="CocoMetric",
                ann_file=f"{root}/annotations/instances_val.json",
                metric="bbox",
            ),
            val_cfg=dict(type="ValLoop"),
            custom_hooks=[
                dict(
                    type="EMAHook",
                    ema_type="ExpMomentumEMA",
                    momentum=1e-3,
                    gamma=100,
                    update_buffers=True,
                    priority=49,
                )
            ],
            **_schedule(iterations, 1e-3),
        )
    )
    cfg.optim_wrapper.type = "OptimWrapper"
    cfg.optim_wrapper.pop("dtype", None)
    return cfg


def _base(*parts: str) -> Config:
    """The project's own base files, as a config of their own would name them."""
    return Config.fromstring(
        "_base_ = " + repr([str(CONFIGS / "_base_" / f"{part}.py") for part in parts]), ".py"
    )


TASKS = {
    "bccd": (bccd, ("coco/bbox_mAP", "coco/bbox_mAP_50")),
    "dsb2018": (dsb2018, ("coco/bbox_mAP", "coco/segm_mAP")),
    "camvid": (camvid, ("mIoU", "mAcc")),
}
