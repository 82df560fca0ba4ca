# The authors published results but neither configs nor weights. The schedule is ShuffleMamba's
# (https://github.com/huangzizheng01/ShuffleMamba), made for models of its own that are like these:
# four maps of stride 16, of what the mixers return. It leaves the registers out of the sequence;
# here they stay in it, as trained, and are cut out of the maps.
_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/schedule_160k.py",
    "../_base_/default_runtime_seg.py",
]

checkpoint = "https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/mambar_small_patch16_224.pth"
undecayed = dict(decay_mult=0.0)
model = dict(
    backbone=dict(
        type="MambaR",
        arch="mambar_s",
        img_size=512,
        features="mixer",
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
    auxiliary_head=dict(in_index=3, in_channels=384),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "pos_embed": undecayed,
            "cls_token": undecayed,
            "A_log": undecayed,
            "A_b_log": undecayed,
            "mixer.D": undecayed,
        }
    )
)
expected = dict(
    metrics={"mIoU": 45.3},
    source="arXiv 2405.14858, table of segmentation results (by a config that was never published)",
    verified=False,
)
