_base_ = "./localvmamba_t_160k_ade20k-512x512.py"

checkpoint = "https://github.com/hunto/LocalMamba/releases/download/v1.0.0/local_vssm_small.ckpt"
model = dict(
    backbone=dict(
        arch="localvmamba_s",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
)
optim_wrapper = dict(type="AmpOptimWrapper")
expected = dict(metrics={"mIoU": 50.0}, metrics_tta={"mIoU": 51.0})
