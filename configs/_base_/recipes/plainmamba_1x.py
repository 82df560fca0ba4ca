# PlainMamba's detectors: schedule_1x.py with half the warm-up. No weight decay for biases, norms,
# embeddings and the scans' own parameters; batch norms of stems, whose names hold no `norm` in the
# authors' model, are decayed.
_base_ = ["../schedules/schedule_1x.py", "../default_runtime.py"]

kept, decayed = dict(decay_mult=0.0), dict(decay_mult=1.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "norm": kept,
            "bias": kept,
            "pos_embed": kept,
            "level_embed": kept,
            ".A_log": kept,
            ".D": kept,
            ".direction_Bs": kept,
            "stem.norm.weight": decayed,
            "convs.0.norm.weight": decayed,
            "convs.1.norm.weight": decayed,
            ".dw.norm.weight": decayed,
            "spm.stem.0.norm.weight": decayed,
            "spm.stem.1.norm.weight": decayed,
            "spm.stem.2.norm.weight": decayed,
            "spm.conv2.norm.weight": decayed,
            "spm.conv3.norm.weight": decayed,
            "spm.conv4.norm.weight": decayed,
        }
    )
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
# Of the backbone: heads and necks say so by themselves.
sync_bn = "torch"
