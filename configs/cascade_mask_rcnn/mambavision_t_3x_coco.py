# The windows make one window of the whole map: attention and a scan over 12,544 tokens. The
# authors' drop path never arrived in their backbone, which used 0.2 in every size.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/schedule_3x.py",
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
expected = dict(
    metrics={"coco/bbox_mAP": 0.511, "coco/segm_mAP": 0.443},
    source="https://github.com/NVlabs/MambaVision, table of detection results",
    verified=False,
)
