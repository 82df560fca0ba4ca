# PlainMamba's detectors: schedule_1x.py with half the warm-up. No weight decay for biases, norms,
# embeddings and the scans' own parameters; batch norms of stems, whose names hold no `norm` in the
# authors' model, are decayed.
_base_ = ["../schedules/schedule_1x.py", "../default_runtime.py"]

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "norm": dict(decay_mult=0.0),
            "bias": dict(decay_mult=0.0),
            "pos_embed": dict(decay_mult=0.0),
            "level_embed": dict(decay_mult=0.0),
            ".A_log": dict(decay_mult=0.0),
            ".D": dict(decay_mult=0.0),
            ".direction_Bs": dict(decay_mult=0.0),
            "stem.norm.weight": dict(decay_mult=1.0),
            "convs.0.norm.weight": dict(decay_mult=1.0),
            "convs.1.norm.weight": dict(decay_mult=1.0),
            ".dw.norm.weight": dict(decay_mult=1.0),
            "spm.stem.0.norm.weight": dict(decay_mult=1.0),
            "spm.stem.1.norm.weight": dict(decay_mult=1.0),
            "spm.stem.2.norm.weight": dict(decay_mult=1.0),
            "spm.conv2.norm.weight": dict(decay_mult=1.0),
            "spm.conv3.norm.weight": dict(decay_mult=1.0),
            "spm.conv4.norm.weight": dict(decay_mult=1.0),
        }
    )
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
# Of the backbone: heads and necks say so by themselves.
sync_bn = "torch"
