# A backbone that ends in its authors' classifier: they chose the norm, the pooling and the class
# tokens. Half of the batches are mixed by blending, half by pasting.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(classifier=True, num_classes=1000),
    head=dict(
        type="LogitsHead",
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        topk=(1, 5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
