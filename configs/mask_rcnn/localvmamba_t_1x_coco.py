# The authors never published weights of LocalVMamba-T: name your own in model.backbone.init_cfg.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="LocalVMamba", arch="localvmamba_t", drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(type="AmpOptimWrapper")
expected = dict(
    metrics={"coco/bbox_mAP": 0.467, "coco/segm_mAP": 0.422},
    source="arXiv 2403.09338, tables 3 and 6",
    verified=False,
)
