_base_ = "./spatialmamba_t_160k_ade20k-512x512.py"

checkpoint = "checkpoints/spatialmamba_s.pth"
model = dict(
    backbone=dict(arch="spatialmamba_s", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"mIoU": 50.6}, metrics_tta={"mIoU": 51.4})
