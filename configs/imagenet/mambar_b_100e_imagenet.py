# The second of three stages: at 224 x 224.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224_3augment.py",
    "../_base_/schedules/schedule_300e_imagenet_mambar.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(
        type="MambaR",
        arch="mambar_b",
        drop_path_rate=0.4,
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/mambar_b_300e_imagenet-128"),
    ),
    head=dict(loss=dict(label_smooth_val=0.0)),
)
optim_wrapper = dict(optimizer=dict(lr=4e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].start_factor = 1 / 400
param_scheduler[1].end = 100
train_cfg = dict(max_epochs=100)
