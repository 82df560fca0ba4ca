# The authors published Mask R-CNN only: their backbone and its settings under this project's
# cascade. LocalVMamba-T's weights were never published: name your own in model.backbone.init_cfg.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(type="LocalVMamba", arch="localvmamba_t", drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(type="AmpOptimWrapper")
