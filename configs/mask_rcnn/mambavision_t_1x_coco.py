# The authors published Cascade Mask R-CNN only. Windows, learning rate, drop path and precision are
# those of that run; there is no published result to compare with.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-T-1K/resolve/main/mambavision_tiny_1k.pth.tar"
)
model = dict(
    backbone=dict(
        type="MambaVision",
        arch="mambavision_t",
        window_size=(8, 8, 112, 56),
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[80, 160, 320, 640]),
)
optim_wrapper = dict(type="AmpOptimWrapper")
