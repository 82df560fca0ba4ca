# The authors published no launch scripts: batch, rate, decay and drop path are Vim's.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224_repeated.py",
    "../_base_/schedules/schedule_300e_imagenet_deit.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="VimF", arch="vim_f_t", drop_path_rate=0.0))
optim_wrapper = dict(optimizer=dict(weight_decay=0.1))
expected = dict(
    metrics={"accuracy/top1": 76.7},
    source="https://github.com/yws-wxs/Vim-F, table of classification results",
    verified=False,
)
