# The final paper's network, without LSBlock.
_base_ = "./mamba_yolo_t_300e_coco.py"

model = dict(
    backbone=dict(arch="mamba_yolo_l_v2"),
    neck=dict(in_channels=[192, 384, 576], num_ss2d=2, use_lsblock=False),
    bbox_head=dict(in_channels=[192, 384, 576]),
)
# The authors' results for this scale are those of the network with LSBlock.
expected = None
