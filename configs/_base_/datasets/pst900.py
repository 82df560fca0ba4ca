# PST900 (Shivakumar et al. 2020): colour and thermal images of 720 x 1280, 5 classes. Files of a
# pair have one name in rgb/, thermal/ and labels/; train.txt and test.txt hold the names without
# `.png`.
_base_ = "./mfnet.py"
data_root = "data/pst900"
metainfo = dict(
    classes=(
        "background",
        "fire extinguisher",
        "backpack",
        "hand drill",
        "survivor",
    )
)

train_pipeline = [
    dict(type="LoadPairedImage"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=r, keep_ratio=True)]
            for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        ],
    ),
    dict(type="RandomCrop", crop_size=(720, 1280)),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
