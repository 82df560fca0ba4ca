# Mask R-CNN for plain columns (ViTDet, Li et al. 2022): mask_rcnn_fpn.py with a pyramid made of the
# last map, two convolutions in the RPN, four and a linear layer in the box head, and LayerNorm in
# all heads. The config that uses this adds the backbone and `neck.in_channels`, one number.
_base_ = "./mask_rcnn_fpn.py"

model = dict(
    neck=dict(_delete_=True, type="SimpleFPN", out_channels=256, num_outs=5),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(
            type="Shared4Conv1FCBBoxHead", conv_out_channels=256, norm_cfg=dict(type="LN2d")
        ),
        mask_head=dict(norm_cfg=dict(type="LN2d")),
    ),
)
