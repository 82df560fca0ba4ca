# Mask R-CNN with a feature pyramid (He et al. 2017; Lin et al. 2017), 80 classes.
# The config that uses this adds the backbone and `neck.in_channels`, the widths
# of the backbone's outputs. What is ours computes what mmdet's classes do and
# leaves a GPU running: docs/performance.md, "The whole training step".
mlvl_strides = [4, 8, 16, 32]
box_coder = dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4)

model = dict(
    type="NoCopyMaskRCNN",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
        non_blocking=True,
    ),
    neck=dict(type="FPN", out_channels=256, num_outs=5),
    rpn_head=dict(
        type="BatchedRPNHead",
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[*mlvl_strides, 64]
        ),
        bbox_coder=dict(target_stds=[1.0] * 4, **box_coder),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    roi_head=dict(
        type="BatchedRoIHead",
        bbox_roi_extractor=dict(
            type="SortedRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0, use_torchvision=True),
            out_channels=256,
            featmap_strides=mlvl_strides,
        ),
        bbox_head=dict(
            type="Shared2FCBBoxHead",
            in_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=80,
            bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2], **box_coder),
            reg_class_agnostic=False,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        mask_roi_extractor=dict(
            type="SortedRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=0, use_torchvision=True),
            out_channels=256,
            featmap_strides=mlvl_strides,
        ),
        mask_head=dict(
            type="PackedFCNMaskHead",
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            num_classes=80,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type="DeviceMaxIoUAssigner",
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
            ),
            sampler=dict(
                type="DeviceRandomSampler",
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
        ),
        rpn_proposal=dict(
            nms_pre=2000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            assigner=dict(
                type="DeviceMaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=True,
            ),
            sampler=dict(
                type="DeviceRandomSampler",
                num=512,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            mask_size=28,
            pos_weight=-1,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=1000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0
        ),
        rcnn=dict(
            score_thr=0.05,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)
