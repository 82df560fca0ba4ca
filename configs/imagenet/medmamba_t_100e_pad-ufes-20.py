# Of medicine: PAD-UFES-20, six kinds of skin lesions, the smallest of the authors' 16 sets of
# images; theirs of the others differs in the classes alone. They print an accuracy of 58.8 without
# the size of the network, so no figure is expected. A drop path of 0.1 is the code's.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/image_folders_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

data_root = "data/pad_ufes_20"
model = dict(
    data_preprocessor=dict(num_classes=6, mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(type="MedMamba", arch="medmamba_t", drop_path_rate=0.1, num_classes=6),
    head=dict(loss=dict(label_smooth_val=0.0)),
    train_cfg=None,
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    # Which interpolation is not stated: torchvision's default.
    dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bilinear"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(224, 224), backend="pillow", interpolation="bilinear"),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(_delete_=True, type="Adam", fused=True, lr=1e-4),
    paramwise_cfg=None,
    clip_grad=None,
)
param_scheduler = []
train_cfg = dict(max_epochs=100)
custom_hooks = []
auto_scale_lr = dict(base_batch_size=32)
