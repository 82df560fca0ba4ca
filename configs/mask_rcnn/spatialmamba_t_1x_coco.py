# The weights lie behind a page: fetch spatialmamba_t.pth by hand from the place that
# docs/checkpoints.md names, and put it where `checkpoint` says.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "checkpoints/spatialmamba_t.pth"
model = dict(
    backbone=dict(
        type="SpatialMamba",
        arch="spatialmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
# The authors' blocks have norms whose names do not hold `norm`, and decay them.
decayed = dict(decay_mult=1.0)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={".norm1.": decayed, ".norm2.": decayed}),
)
expected = dict(
    metrics={"coco/bbox_mAP": 0.476, "coco/segm_mAP": 0.429},
    source="https://github.com/EdwardChasel/Spatial-Mamba, table of detection results",
    verified=False,
)
