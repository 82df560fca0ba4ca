# The authors published no detector. The schedule is that of Vim-T's, whose column this is; the
# registers stay in the sequence and are cut out of the map.
_base_ = [
    "../_base_/models/mask_rcnn_simple_fpn.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/schedule_100e_lsj.py",
    "../_base_/default_runtime.py",
]

checkpoint = "https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/mambar_small_patch16_224.pth"
model = dict(
    backbone=dict(
        type="MambaR",
        arch="mambar_s",
        img_size=1024,
        out_indices=(23,),
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(in_channels=384),
)
# The rate falls from block to block towards the image, by 0.837 each.
rates = {f"backbone.layers.{i}.": dict(lr_mult=0.837 ** (24 - i)) for i in range(24)}
norm_rates = {f"{name}norm.": dict(decay_mult=0.0, **rate) for name, rate in rates.items()}
first = dict(lr_mult=0.837**25)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            **rates,
            **norm_rates,
            "backbone.patch_embed": first,
            "pos_embed": dict(lr_mult=0.837**25, decay_mult=0.0),
            "cls_token": dict(lr_mult=0.837**25, decay_mult=0.0),
        }
    )
)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=5_000))
log_processor = dict(by_epoch=False)
