# Its authors trained classifiers alone: the schedule is VMamba's, and drop path that of their
# classifier. The maps at strides 4 and 32 are ours.
_base_ = [
    "../_base_/models/mask_rcnn_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://huggingface.co/jacklishufan/Mamba-ND/resolve/main/in1k/mamba2d_s.pth"
model = dict(
    backbone=dict(
        type="MambaND",
        arch="mamba_nd_s",
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[384, 384, 384, 384]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"pos_embed": dict(decay_mult=0.0)}))
