_base_ = "./spatialmamba_t_3x_coco.py"

checkpoint = "checkpoints/spatialmamba_s.pth"
model = dict(
    backbone=dict(arch="spatialmamba_s", drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)),
)
expected = dict(metrics={"coco/bbox_mAP": 0.505, "coco/segm_mAP": 0.446})
