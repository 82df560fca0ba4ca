_base_ = [
    "../_base_/models/retinanet_fpn.py",
    "../_base_/datasets/coco_detection.py",
    "../_base_/recipes/plainmamba_1x.py",
]

checkpoint = "https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/l1.pth"
model = dict(
    backbone=dict(
        type="PlainMamba",
        arch="plainmamba_l1_det",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(
        in_channels=[192, 192, 192, 192],
        add_extra_convs="on_output",
        norm_cfg=dict(type="SyncBN", requires_grad=True),
    ),
)
optim_wrapper = dict(clip_grad=dict(max_norm=35, norm_type=2))
expected = dict(
    metrics={"coco/bbox_mAP": 0.417},
    source="https://github.com/ChenhongyiYang/PlainMamba, table of detection results",
    verified=False,
)
