# The weights lie behind a page: fetch them by hand from the place that docs/checkpoints.md names,
# and put the file where `checkpoint` says.
_base_ = "./msvmamba_t_1x_coco.py"

checkpoint = "checkpoints/msvmamba_m.pth"
model = dict(
    backbone=dict(arch="msvmamba_m", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.438, "coco/segm_mAP": 0.399})
