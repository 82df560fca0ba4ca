# For 16 GPUs with one image each. In float32: the authors saw mixed precision diverge at this size.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k_640.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-L3-512-21K/resolve/main/"
    "mambavision_L3_21k_740m_512.pth.tar"
)
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        type="MambaVision",
        arch="mambavision_l3_512_21k",
        window_size=(8, 8, 64, 32),
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=8e-5, weight_decay=0.05))
train_dataloader = dict(batch_size=1)
expected = dict(
    metrics={"mIoU": 53.2},
    source="https://github.com/NVlabs/MambaVision, table of segmentation results",
    verified=False,
)
