# The last of three stages, for 512 images an iteration (8 GPUs x 64). The rate is that at which the
# cosine would end: constant after the warm-up.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet_mambar.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(
        type="MambaR",
        arch="mambar_b",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/mambar_b_100e_imagenet"),
    )
)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 224
train_dataloader = dict(batch_size=64)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-5, weight_decay=0.1))
param_scheduler = [dict(type="LinearLR", start_factor=0.1, by_epoch=True, begin=0, end=5)]
train_cfg = dict(max_epochs=20)
auto_scale_lr = dict(base_batch_size=512)
expected = dict(
    metrics={"accuracy/top1": 83.0},
    source="https://github.com/wangf3014/Mamba-Reg, table of classification results",
    verified=False,
)
