# The authors never published weights of LocalVim-S: name your own in model.backbone.init_cfg.
_base_ = "./localvim_t_160k_ade20k-512x512.py"

model = dict(
    backbone=dict(arch="localvim_s", init_cfg=None),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(metrics={"mIoU": 46.4}, metrics_tta={"mIoU": 47.5})
