# The weights lie behind a page: fetch mobilemamba_b1.pth by hand from the place that
# docs/checkpoints.md names, and put it where `checkpoint` says.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "checkpoints/mobilemamba_b1.pth"
model = dict(
    backbone=dict(
        type="MobileMamba",
        arch="mobilemamba_b1",
        norm_eval=True,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(type="EfficientViTFPN", in_channels=[200, 376, 448]),
)
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", fused=True, lr=2e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.1),
)
# Constant for the first half of the 12 epochs, then a cosine.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=500),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=6,
        end=12,
        T_max=6,
        convert_to_iter_based=True,
    ),
]
train_dataloader = dict(batch_size=4)
expected = dict(
    metrics={"coco/bbox_mAP": 0.406, "coco/segm_mAP": 0.374},
    source="https://github.com/lewandofskee/MobileMamba, table of detection results",
    verified=False,
)
