# The pretrained weights lie in a Google Drive folder (`mmmamba download msvmamba_t` says where):
# name the file that you fetched in model.backbone.init_cfg.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

model = dict(
    backbone=dict(type="MSVMamba", arch="msvmamba_t", drop_path_rate=0.2),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 47.8},
    source="https://github.com/YuHengsss/MSVMamba, table of segmentation results",
    verified=False,
)
