_base_ = "./vssd_t_3x_coco.py"

checkpoint = "https://huggingface.co/YuhengSSS/VSSD/resolve/main/vssd_micro_best.pth"
model = dict(
    backbone=dict(arch="vssd_m", drop_path_rate=0.1, init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.477, "coco/segm_mAP": 0.428})
