# DOTA-v1.0, fifteen classes, upright boxes around its turned ones, in tiles of 1024 pixels; AP is
# that of whole images. Files as tools/aerial_to_coco.py writes them: difficult objects are crowds.
# Tile and overlap are our choice.
_base_ = "./visdrone_tiled.py"
data_root = "data/dota/"
size, overlap = 1024, 0.25
classes = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
)
# Seen from above, nothing has an upper end.
turns = dict(
    type="RandomFlip", prob=[0.25, 0.25, 0.25], direction=["horizontal", "vertical", "diagonal"]
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    turns,
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        size=size,
        overlap=overlap,
        dataset=dict(
            data_root=data_root,
            data_prefix=dict(img="train/images/"),
            metainfo=dict(classes=classes),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=2,
    dataset=dict(
        size=size,
        overlap=overlap,
        dataset=dict(
            data_root=data_root,
            data_prefix=dict(img="val/images/"),
            metainfo=dict(classes=classes),
            pipeline=test_pipeline,
        ),
    ),
)
test_dataloader = val_dataloader
# An image may have more than 500 vehicles or ships.
val_evaluator = dict(ann_file=data_root + "annotations/val.json", proposal_nums=(1, 100, 1000))
test_evaluator = val_evaluator
