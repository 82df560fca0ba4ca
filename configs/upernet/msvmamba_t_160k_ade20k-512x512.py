# The weights lie behind a page: fetch them by hand from the place that docs/checkpoints.md names,
# and put the file where `checkpoint` says.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "checkpoints/msvmamba_t.pth"
model = dict(
    backbone=dict(
        type="MSVMamba",
        arch="msvmamba_t",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
expected = dict(
    metrics={"mIoU": 47.8},
    source="https://github.com/YuHengsss/MSVMamba, table of segmentation results",
    verified=False,
)
