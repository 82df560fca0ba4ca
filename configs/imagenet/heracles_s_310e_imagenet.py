# Without the token labels of the authors' 84.5, maps of what another network sees: that figure is
# not expected. Mixup and CutMix, off where there are such labels, are on as in other recipes.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_310e_imagenet_simba.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(type="Heracles", arch="heracles_s", drop_path_rate=0.1, token_label=False),
)
