_base_ = "./spatialmamba_t_160k_ade20k-512x512.py"

checkpoint = "checkpoints/spatialmamba_b.pth"
model = dict(
    backbone=dict(arch="spatialmamba_b", drop_path_rate=0.5, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(metrics={"mIoU": 51.8}, metrics_tta={"mIoU": 52.6})
