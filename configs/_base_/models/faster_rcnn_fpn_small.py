# Faster R-CNN for small objects of aerial images: Mask R-CNN's file without masks, anchors of half
# its size (from 16 pixels), and nothing learnt from what lies in ignored regions, which takes the
# way of mmdet's assigner, image by image. The choices are ours.
_base_ = "./mask_rcnn_fpn.py"

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    train_cfg=dict(
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=dict(assigner=dict(ignore_iof_thr=0.5)),
    ),
    # Of each tile.
    test_cfg=dict(rcnn=dict(score_thr=0.01, max_per_img=300)),
)
