# Mamba YOLO (arXiv 2406.05835). The config that uses this adds `backbone.arch` and the widths of
# its maps. Images are divided by 255; what stands around them is 114 before that, as in YOLOv8.
model = dict(
    type="MambaYOLO",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,
    ),
    backbone=dict(type="MambaYOLOBackbone"),
    neck=dict(type="MambaYOLOPAFPN"),
    bbox_head=dict(type="YOLODFLHead", num_classes=80, strides=[8, 16, 32], reg_max=16),
    train_cfg=dict(
        assigner=dict(type="NormalizedTaskAlignedAssigner", topk=10, alpha=0.5, beta=6.0, eps=1e-9)
    ),
    # Of validation: candidates of every class above 0.001, so that AP counts them.
    test_cfg=dict(
        multi_label=True,
        score_thr=0.001,
        nms_pre=30000,
        nms=dict(type="nms", iou_threshold=0.7),
        max_per_img=300,
    ),
)
