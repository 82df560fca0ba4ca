_base_ = "./msvmamba_v3_t_3x_coco.py"

checkpoint = "https://huggingface.co/YuhengSSS/MSVMamba/resolve/main/msvmambav3_small_224.pth"
model = dict(
    backbone=dict(arch="msvmamba_v3_s", init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.497, "coco/segm_mAP": 0.442})
