# PlainMamba's 300 epochs on ImageNet: Swin Transformer's with a shorter warm-up, from epoch to
# epoch, no average, and no decay for what the scan learns of directions and steps. For 2048 images
# an iteration (8 GPUs x 256).
_base_ = "./schedule_300e_imagenet.py"

optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(
        custom_keys={
            "pos_embed": dict(decay_mult=0.0),
            ".A_log": dict(decay_mult=0.0),
            ".D": dict(decay_mult=0.0),
            ".direction_Bs": dict(decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=15),
    dict(
        type="CosineAnnealingLR",
        eta_min=2e-5,
        by_epoch=True,
        begin=15,
        end=300,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=2048)
custom_hooks = []
