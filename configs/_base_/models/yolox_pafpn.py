# YOLOX-S's neck and head (mmdet, the head in whole batches). The config that uses this
# adds the backbone and `neck.in_channels`.
norm_cfg = dict(type="BN", momentum=0.03, eps=0.001)
model = dict(
    type="YOLOX",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    neck=dict(
        type="YOLOXPAFPN",
        out_channels=128,
        num_csp_blocks=1,
        norm_cfg=norm_cfg,
        act_cfg=dict(type="Swish"),
    ),
    bbox_head=dict(
        type="BatchedYOLOXHead",
        num_classes=80,
        in_channels=128,
        feat_channels=128,
        strides=(8, 16, 32),
        norm_cfg=norm_cfg,
        act_cfg=dict(type="Swish"),
    ),
    train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=2.5)),
    test_cfg=dict(score_thr=0.001, nms=dict(type="nms", iou_threshold=0.65), max_per_img=300),
)
