# UperNet gets four maps of one size, as in the authors' run; the auxiliary head reads the last.
_base_ = ["../_base_/models/upernet.py", "../_base_/recipes/plainmamba_160k.py"]

checkpoint = "https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/l3.pth"
model = dict(
    backbone=dict(
        type="PlainMamba",
        arch="plainmamba_l3",
        drop_path_rate=0.3,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[448, 448, 448, 448]),
    auxiliary_head=dict(in_channels=448, in_index=3),
)
expected = dict(
    metrics={"mIoU": 49.1},
    source="https://github.com/ChenhongyiYang/PlainMamba, table of segmentation results",
    verified=False,
)
