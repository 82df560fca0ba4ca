# PlainMamba's segmentors: schedule_160k.py without weight decay for positions and the scans' own
# parameters; batch norms of the stem, whose names hold no `norm` in the authors' model, are
# decayed. Test images are resized to sides that are multiples of 32.
_base_ = [
    "../datasets/ade20k.py",
    "../schedules/schedule_160k.py",
    "../default_runtime_seg.py",
]

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            ".pos_embed": dict(decay_mult=0.0),
            ".A_log": dict(decay_mult=0.0),
            ".D": dict(decay_mult=0.0),
            ".direction_Bs": dict(decay_mult=0.0),
            "patch_embed.": dict(decay_mult=1.0),
            ".dw.norm.": dict(decay_mult=1.0),
        }
    )
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 512), keep_ratio=True),
    dict(type="ResizeToMultiple", size_divisor=32),
    # After Resize: labels are compared at the image's own size.
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# Of the backbone: heads say so by themselves.
sync_bn = "torch"
