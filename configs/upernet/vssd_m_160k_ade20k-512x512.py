# The authors published this result without its config: drop path is that of their detectors.
_base_ = "./vssd_t_160k_ade20k-512x512.py"

checkpoint = "https://huggingface.co/YuhengSSS/VSSD/resolve/main/vssd_micro_best.pth"
model = dict(
    backbone=dict(arch="vssd_m", drop_path_rate=0.1, init_cfg=dict(checkpoint=checkpoint)),
    decode_head=dict(in_channels=[48, 96, 192, 384]),
    auxiliary_head=dict(in_channels=192),
)
expected = dict(metrics={"mIoU": 45.6}, metrics_tta={"mIoU": 46.0})
