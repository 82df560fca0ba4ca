_base_ = "./localvmamba_t_3x_coco.py"

checkpoint = "https://github.com/hunto/LocalMamba/releases/download/v1.0.0/local_vssm_small.ckpt"
model = dict(
    backbone=dict(arch="localvmamba_s", init_cfg=dict(type="Pretrained", checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.499, "coco/segm_mAP": 0.441})
