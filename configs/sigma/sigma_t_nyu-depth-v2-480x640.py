# Published at three sizes, each also mirrored: `mmmamba test --tta`.
_base_ = ["../_base_/recipes/sigma_500e.py", "../_base_/datasets/nyu_depth_v2.py"]

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmtiny_dp01_ckpt_epoch_292.pth"
)
model = dict(
    backbone=dict(
        arch="sigma_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=40),
)
expected = dict(
    metrics={},
    metrics_tta={"mIoU": 53.9},
    source="https://github.com/zifuwan/Sigma, tables of results",
    verified=False,
)
