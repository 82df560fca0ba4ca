_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224_repeated.py",
    "../_base_/schedules/schedule_300e_imagenet_deit.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="Vim", arch="vim_t", drop_path_rate=0.0))
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
expected = dict(
    metrics={"accuracy/top1": 76.1},
    source="https://github.com/hustvl/Vim, table of classification results",
    verified=False,
)
