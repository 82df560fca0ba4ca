# SALICON: natural images, 10,000 to train and 5000 to validate, with
# maps of where mice were moved. As its authors lay it out, with a folder
# of fixations: fixations/train/*.mat, or grey images that are not 0 where
# somebody looked.
data_root = "data/salicon/"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(256, 256), keep_ratio=False),
    dict(type="LoadSaliencyAnnotations", fit=True),
    dict(type="PackSaliencyInputs"),
]
# Maps are compared at the size of their files.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(256, 256), keep_ratio=False),
    dict(type="LoadSaliencyAnnotations"),
    dict(type="PackSaliencyInputs"),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="SaliencyDataset",
        data_root=data_root,
        data_prefix=dict(
            img_path="images/train",
            saliency_map_path="maps/train",
            fixation_map_path="fixations/train",
        ),
        condition="natural_mouse",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SaliencyDataset",
        data_root=data_root,
        data_prefix=dict(
            img_path="images/val",
            saliency_map_path="maps/val",
            fixation_map_path="fixations/val",
        ),
        condition="natural_mouse",
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="SaliencyMetric", measures=["KL", "CC", "SIM", "NSS", "AUC"])
test_evaluator = val_evaluator
