_base_ = ["../_base_/recipes/sigma_500e.py", "../_base_/datasets/pst900.py"]

checkpoint = (
    "https://github.com/MzeroMiko/VMamba/releases/download/%23v0cls/"
    "vssmtiny_dp01_ckpt_epoch_292.pth"
)
model = dict(
    data_preprocessor=dict(size=(720, 1280)),
    backbone=dict(
        arch="sigma_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=5),
)
expected = dict(
    metrics={"mIoU": 88.6},
    source="https://github.com/zifuwan/Sigma, tables of results",
    verified=False,
)
