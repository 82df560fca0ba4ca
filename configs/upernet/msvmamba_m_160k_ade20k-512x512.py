# The pretrained weights lie in a Google Drive folder (`mmmamba download msvmamba_m` says where):
# name the file that you fetched in model.backbone.init_cfg.
_base_ = "./msvmamba_t_160k_ade20k-512x512.py"

model = dict(
    backbone=dict(arch="msvmamba_m", drop_path_rate=0.3),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
expected = dict(metrics={"mIoU": 45.1}, metrics_tta={"mIoU": 45.4})
