# The authors published classifiers alone. Model and schedule are those of Vim-T, whose column this
# is. The spectrum depends on the image's size: tests slide over it in windows as large as trained.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://github.com/yws-wxs/Vim-F/releases/download/v1.0.0.3/v2-ti-f-ckp.pth"
model = dict(
    backbone=dict(
        type="VimF",
        arch="vim_f_t",
        features="mixer",
        pyramid=True,
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[192, 192, 192, 192], channels=192),
    auxiliary_head=dict(in_channels=192),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={"cls_token": dict(decay_mult=0.0), "spectrum": dict(decay_mult=0.0)}
    )
)
