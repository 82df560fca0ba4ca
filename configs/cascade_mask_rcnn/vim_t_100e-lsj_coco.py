# Detectron2's ViTDet settings. The authors started from weights without a
# class token that they never published, and turned the tokens by their places;
# this starts from the published ones, whose class token stays in the sequence.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/schedule_100e_lsj.py",
    "../_base_/default_runtime.py",
]

checkpoint = (
    "https://huggingface.co/hustvl/Vim-tiny-midclstok/resolve/main/vim_t_midclstok_76p1acc.pth"
)
box_heads = [
    dict(
        type="Shared4Conv1FCBBoxHead",
        in_channels=256,
        conv_out_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=80,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=stds),
        reg_class_agnostic=True,
        norm_cfg=dict(type="LN2d"),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    )
    for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [1 / 30, 1 / 30, 1 / 15, 1 / 15])
]
model = dict(
    backbone=dict(
        type="Vim",
        arch="vim_t",
        img_size=1024,
        out_indices=(23,),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(_delete_=True, type="SimpleFPN", in_channels=192, out_channels=256, num_outs=5),
    rpn_head=dict(num_convs=2),
    roi_head=dict(bbox_head=box_heads, mask_head=dict(norm_cfg=dict(type="LN2d"))),
)
# The rate falls from block to block towards the image.
optim_wrapper = dict(
    constructor="LayerDecayOptimWrapperConstructor", paramwise_cfg=dict(layer_decay_rate=0.837)
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5_000))
log_processor = dict(by_epoch=False)
expected = dict(
    metrics={"coco/bbox_mAP": 0.457, "coco/segm_mAP": 0.392},
    source="https://github.com/hustvl/Vim and arXiv 2401.09417 "
    "(from weights that were never published)",
    verified=False,
)
