# UperNet gets four maps of one size, as in the authors' run. Their
# norms are LayerNorms that start from the published RMSNorms' scales.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://github.com/hunto/LocalMamba/releases/download/v1.0.0/local_vim_tiny.ckpt"
model = dict(
    backbone=dict(
        type="LocalVim",
        arch="localvim_t",
        img_size=512,
        norm="layer",
        out_indices=(4, 9, 14, 19),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[192, 192, 192, 192]),
    auxiliary_head=dict(in_channels=192, in_index=3),
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={"pos_embed": dict(decay_mult=0.0), "cls_token": dict(decay_mult=0.0)}
    )
)
expected = dict(
    metrics={"mIoU": 43.4},
    metrics_tta={"mIoU": 44.4},
    source="arXiv 2403.09338, table of segmentation results",
    verified=False,
)
