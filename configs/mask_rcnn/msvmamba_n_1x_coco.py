# The weights lie behind a page: fetch them by hand from the place that docs/checkpoints.md names,
# and put the file where `checkpoint` says.
# The published results began with weights of 100 epochs, not with these of 300.
_base_ = "./msvmamba_t_1x_coco.py"

checkpoint = "checkpoints/msvmamba_n.pth"
model = dict(
    backbone=dict(arch="msvmamba_n", init_cfg=dict(checkpoint=checkpoint)),
    neck=dict(in_channels=[48, 96, 192, 384]),
)
expected = dict(metrics={"coco/bbox_mAP": 0.414, "coco/segm_mAP": 0.379})
