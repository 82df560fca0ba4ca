# ImageNet-1K at 224 x 224 with the augmentation of DeiT III (arXiv 2204.07118): one of three
# changes, then colours, and an epoch of a third of the images, three times each. Tested without a
# margin.
_base_ = "./imagenet_224.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="RandomGrayscale", prob=1.0, keep_channels=True)],
            [dict(type="Solarize", thr=128, prob=1.0)],
            [
                dict(
                    type="GaussianBlur",
                    magnitude_range=(0.1, 2.0),
                    magnitude_std="inf",
                    prob=1.0,
                )
            ],
        ],
    ),
    dict(type="ColorJitter", brightness=0.3, contrast=0.3, saturation=0.3, backend="cv2"),
    dict(type="PackInputs"),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 224
train_dataloader = dict(
    sampler=dict(type="RepeatAugSampler"), dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
