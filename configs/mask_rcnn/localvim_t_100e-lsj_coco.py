# The paper calls it Cascade Mask R-CNN; the authors' config builds plain
# Mask R-CNN, as here. Their layer decay reached the embeddings only. Their
# norms are LayerNorms that start from the published RMSNorms' scales.
_base_ = [
    "../_base_/models/mask_rcnn_simple_fpn.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/schedule_100e_lsj.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://github.com/hunto/LocalMamba/releases/download/v1.0.0/local_vim_tiny.ckpt"
model = dict(
    backbone=dict(
        type="LocalVim",
        arch="localvim_t",
        img_size=1024,
        norm="layer",
        out_indices=(19,),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=192),
)
embeddings = dict(lr_mult=0.7**13)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(weight_decay=0.05),
    clip_grad=dict(max_norm=35),
    paramwise_cfg=dict(custom_keys={"backbone.patch_embed": embeddings, "pos_embed": embeddings}),
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5_000))
log_processor = dict(by_epoch=False)
expected = dict(
    metrics={"coco/bbox_mAP": 0.453, "coco/segm_mAP": 0.399},
    source="arXiv 2403.09338, table of detection results",
    verified=False,
)
