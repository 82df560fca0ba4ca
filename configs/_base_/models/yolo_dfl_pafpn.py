# Mamba YOLO's neck and head on any backbone. The config
# that uses this adds the backbone and `neck.in_channels`.
model = dict(
    type="SingleStageDetector",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    neck=dict(type="MambaYOLOPAFPN", out_channels=[128, 256, 256]),
    bbox_head=dict(
        type="YOLODFLHead",
        num_classes=80,
        in_channels=[128, 256, 256],
        strides=[8, 16, 32],
        reg_max=16,
    ),
    train_cfg=dict(
        assigner=dict(type="NormalizedTaskAlignedAssigner", topk=10, alpha=0.5, beta=6.0, eps=1e-9)
    ),
    test_cfg=dict(
        multi_label=True,
        score_thr=0.001,
        nms_pre=30000,
        nms=dict(type="nms", iou_threshold=0.7),
        max_per_img=300,
    ),
)
