# SUN RGB-D (Song et al. 2015): colour and depth images of 480 x 640, 37 classes stored from 1, 0
# for none. Files of a pair have one name in rgb/, depth/ and labels/; train.txt and test.txt hold
# the names without `.png`. With --tta: three sizes, each also mirrored.
_base_ = "./nyu_depth_v2.py"
data_root = "data/sun_rgbd"
metainfo = dict(
    classes=(
        "wall",
        "floor",
        "cabinet",
        "bed",
        "chair",
        "sofa",
        "table",
        "door",
        "window",
        "bookshelf",
        "picture",
        "counter",
        "blinds",
        "desk",
        "shelves",
        "curtain",
        "dresser",
        "pillow",
        "mirror",
        "floor mat",
        "clothes",
        "ceiling",
        "books",
        "refrigerator",
        "television",
        "paper",
        "towel",
        "shower curtain",
        "box",
        "whiteboard",
        "person",
        "night stand",
        "toilet",
        "sink",
        "lamp",
        "bathtub",
        "bag",
    )
)

train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo))
test_dataloader = val_dataloader
