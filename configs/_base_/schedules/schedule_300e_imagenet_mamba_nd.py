# Mamba-ND's 300 epochs on ImageNet: rates that fall by 0.95 from block to block towards the image,
# a warm-up of 10 epochs over a cosine that begins in its middle. For 1024 images an iteration, as
# the base file says; how many GPUs had 128 each is not stated. Nor is it whether rates change in
# an epoch (the warm-up's do here, as in MMPretrain's recipes), or the precision: half, as others'.
# The last norm but one learns at the last block's rate, which is 0.95 of its authors'.
_base_ = "./schedule_300e_imagenet.py"

optim_wrapper = dict(
    constructor="LayerDecayOptimWrapperConstructor",
    optimizer=dict(weight_decay=0.1),
    paramwise_cfg=dict(
        _delete_=True,
        layer_decay_rate=0.95,
        norm_decay_mult=0.1,
        custom_keys={
            # The two norms at the end.
            "column.1.norm": dict(decay_mult=0.0),
            "classifier.norm": dict(decay_mult=0.0),
            ".bias": dict(decay_mult=0.0),
            ".pos_embed": dict(decay_mult=0.0),
            ".A_log": dict(decay_mult=0.1),
        },
    ),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5, end=300),
]
