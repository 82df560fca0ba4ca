# The weights lie behind a page: fetch them by hand from the place that docs/checkpoints.md names,
# and put the file where `checkpoint` says.
_base_ = "./msvmamba_t_160k_ade20k-512x512.py"

checkpoint = "checkpoints/msvmamba_m.pth"
model = dict(
    backbone=dict(arch="msvmamba_m", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
expected = dict(metrics={"mIoU": 45.1}, metrics_tta={"mIoU": 45.4})
