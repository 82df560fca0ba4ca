# The authors have no config of this size and schedule: it is that of 1x, for 36 epochs.
_base_ = "./vssd_t_3x_coco.py"

checkpoint = "https://huggingface.co/YuhengSSS/VSSD/resolve/main/vssd_small_best_ema.pth"
model = dict(
    backbone=dict(arch="vssd_s", drop_path_rate=0.4, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.500, "coco/segm_mAP": 0.446})
