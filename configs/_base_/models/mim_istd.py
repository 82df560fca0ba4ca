# MiM-ISTD (Chen et al. 2024), targets or not. Grey images are read as three equal channels. The
# authors published neither loss nor threshold: mmseg's binary cross entropy and Lovasz hinge, which
# follows IoU, are our choice, and so are the means.
model = dict(
    type="MiMISTD",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(type="MiMISTDBackbone", arch="mim_istd"),
    decode_head=dict(
        type="MiMISTDHead",
        in_channels=[32, 64, 128, 256],
        channels=8,
        dropout_ratio=0.1,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        align_corners=False,
        loss_decode=[
            dict(type="CrossEntropyLoss", use_sigmoid=True, avg_non_ignore=True, loss_weight=1.0),
            dict(type="LovaszLoss", loss_type="binary", reduction="none", loss_weight=1.0),
        ],
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
