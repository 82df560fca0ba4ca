# Of aerial scenes: NWPU-RESISC45, folders of 45 classes. The authors print an F1 of 95.18 without
# the size of the network, so no figure is expected. Not stated: how many GPUs had 16 images each
# (one, here), whether norms and biases are decayed (not here), the precision (float32), clipping
# and an average of the weights (neither), drop path (none). AutoAugment is MMPretrain's.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/image_folders_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

data_root = "data/resisc45"
model = dict(
    data_preprocessor=dict(
        num_classes=45,
        mean=[93.847266, 97.201288, 87.665479],
        std=[37.102168, 34.616501, 33.701918],
    ),
    backbone=dict(type="RSMamba", arch="rsmamba_b", drop_path_rate=0.0, num_classes=45),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="RandomResizedCrop",
        scale=224,
        crop_ratio_range=(0.4, 1.0),
        backend="pillow",
        interpolation="bicubic",
    ),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
    dict(
        type="AutoAugment",
        policies="imagenet",
        hparams=dict(pad_val=[88, 97, 94], interpolation="bicubic"),
    ),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=16, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(lr=5e-4), clip_grad=None)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 10
param_scheduler[1].begin = 10
param_scheduler[1].end = 500
train_cfg = dict(max_epochs=500)
custom_hooks = []
auto_scale_lr = dict(base_batch_size=16)
