# Synchronised batch norm in neck and box head; images without objects are kept. As in the authors'
# config.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/recipes/plainmamba_1x.py",
]

checkpoint = "https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/l1.pth"
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    backbone=dict(
        type="PlainMamba",
        arch="plainmamba_l1_det",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[192, 192, 192, 192], norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type="Shared4Conv1FCBBoxHead", conv_out_channels=256, norm_cfg=norm_cfg)
    ),
)
train_dataloader = dict(dataset=dict(filter_cfg=dict(filter_empty_gt=False)))
expected = dict(
    metrics={"coco/bbox_mAP": 0.441, "coco/segm_mAP": 0.391},
    source="https://github.com/ChenhongyiYang/PlainMamba, table of detection results",
    verified=False,
)
