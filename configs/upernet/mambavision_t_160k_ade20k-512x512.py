# For 16 GPUs with one image each. The windows are the authors' own; their drop path never arrived
# in their backbone, which used 0.2 in every size.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = (
    "https://huggingface.co/nvidia/MambaVision-T-1K/resolve/main/mambavision_tiny_1k.pth.tar"
)
model = dict(
    backbone=dict(
        type="MambaVision",
        arch="mambavision_t",
        window_size=(8, 8, 64, 32),
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[80, 160, 320, 640]),
    auxiliary_head=dict(in_channels=320),
)
optim_wrapper = dict(type="AmpOptimWrapper", optimizer=dict(lr=5e-5))
train_dataloader = dict(batch_size=1)
expected = dict(
    metrics={"mIoU": 46.0},
    source="https://github.com/NVlabs/MambaVision, table of segmentation results",
    verified=False,
)
