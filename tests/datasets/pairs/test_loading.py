"""Pairs of images on their way into a network: read as one image, changed together."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope

import mmmamba.detection  # noqa: F401
from mmmamba.errors import UsageError

SIZE = (37, 52)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("mmseg")


@pytest.fixture
def folder(tmp_path):
    """`rgb/1.jpg`… as PNG, `thermal/` in 16 bits, `labels/`; three of each, one in a folder."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "night/c"):
        files = [tmp_path / kind / f"{name}.png" for kind in ("rgb", "thermal", "labels")]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(files[0]), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        cv2.imwrite(str(files[1]), rng.integers(0, 65536, SIZE, dtype=np.uint16))
        cv2.imwrite(str(files[2]), rng.integers(0, 3, SIZE, dtype=np.uint8))
    return tmp_path


def load(folder, name="a", **settings):
    step = TRANSFORMS.build(dict(type="LoadPairedImage", **settings))
    paths = dict(img_path=f"{folder}/rgb/{name}.png", second_path=f"{folder}/thermal/{name}.png")
    return step(paths)["img"]


def test_red_green_blue_come_first_then_grey_three_times(folder):
    image = load(folder)
    assert image.shape == (*SIZE, 6) and image.dtype == np.uint8
    assert (image[..., 2::-1] == cv2.imread(str(folder / "rgb/a.png"))).all()
    grey = cv2.imread(str(folder / "thermal/a.png"), cv2.IMREAD_GRAYSCALE)
    assert (image[..., 3:] == grey[..., None]).all()


def test_the_file_s_own_bits(folder):
    image = load(folder, second_channels=1, second_color_type="unchanged")
    assert image.shape == (*SIZE, 4) and image.dtype == np.uint16
    assert (image[..., 3] == cv2.imread(str(folder / "thermal/a.png"), -1)).all()
    assert (image[..., 2::-1] == cv2.imread(str(folder / "rgb/a.png"))).all()


def test_a_second_image_of_colours_is_red_green_blue_too(folder):
    colours = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "thermal/a.png"), colours)
    for kind in ("color", "unchanged"):
        assert (load(folder, second_color_type=kind)[..., 3:] == colours[..., ::-1]).all()
    with pytest.raises(ValueError, match="has 3 channels, wanted 1.*grayscale"):
        load(folder, second_channels=1, second_color_type="unchanged")


def test_another_size_names_both_files(folder):
    cv2.imwrite(str(folder / "thermal/a.png"), np.zeros((30, 40), np.uint8))
    with pytest.raises(ValueError, match=r"rgb/a.png is 52 x 37 and .*thermal/a.png is 40 x 30"):
        load(folder)


def test_a_missing_partner_is_named(folder):
    (folder / "thermal/a.png").unlink()
    with pytest.raises(FileNotFoundError, match="rgb/a.png has no partner.*thermal/a.png"):
        load(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(second_color_type="greyscale"), "Did you mean 'grayscale'"),
        (dict(second_channels=2), "is 2, wanted 1 or 3"),
        (dict(second_color_type="color", second_channels=1), "reads three channels"),
        (dict(color_type="grayscale"), "takes no color_type"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(UsageError, match=message):
        TRANSFORMS.build(dict(type="LoadPairedImage", **settings))


def dataset(folder, *pipeline, **settings):
    prefix = dict(img_path="rgb", second_path="thermal", seg_map_path="labels")
    given = dict(data_root=str(folder), data_prefix=prefix, img_suffix=".png")
    classes = dict(metainfo=dict(classes=("x", "y", "z")))
    kind = dict(type="PairedSegDataset", pipeline=list(pipeline), **classes)
    return DATASETS.build({**kind, **given, **settings})


def test_the_data_set_finds_partners_below_the_other_folder(folder):
    found = [entry["second_path"] for entry in dataset(folder)]
    assert found == [str(folder / "thermal" / f"{name}.png") for name in ("a", "b", "night/c")]


def test_partners_with_another_suffix_and_names_from_a_list(folder):
    (folder / "names.txt").write_text("night/c\n")
    found = list(dataset(folder, ann_file="names.txt", second_suffix="_t.tiff"))
    assert [entry["second_path"] for entry in found] == [str(folder / "thermal/night/c_t.tiff")]


def test_a_data_set_without_second_path_is_refused(folder):
    with pytest.raises(UsageError, match="has img_path, and no second_path"):
        dataset(folder, data_prefix=dict(img_path="rgb"))


STEPS = {
    "flip": dict(type="RandomFlip", prob=1.0, direction="horizontal"),
    "diagonal": dict(type="RandomFlip", prob=1.0, direction="diagonal"),
    "resize": dict(type="Resize", scale=(31, 20)),
    "random_resize": dict(
        type="RandomResize", scale=(80, 40), ratio_range=(0.5, 2.0), keep_ratio=True
    ),
    "crop": dict(type="RandomCrop", crop_size=(20, 24), cat_max_ratio=0.75),
    "rotate": dict(type="RandomRotate", prob=1.0, degree=30.0),
    "pad": dict(type="PadAnyChannels", size=(64, 48), pad_val=dict(img=7, seg=255)),
    "pad_divisor": dict(type="PadAnyChannels", size_divisor=32),
    "reflect": dict(type="PadAnyChannels", size=(64, 48), padding_mode="reflect"),
}
"""Sizes are width and height here but of crops."""


@pytest.mark.parametrize("channels", [4, 5, 6])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_steps_move_every_channel_as_they_move_one(step, kind, channels):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*SIZE, channels)).astype(kind)
    labels = rng.integers(0, 3, SIZE, dtype=np.uint8)

    def run(part):
        np.random.seed(5)
        sample = dict(img=part.copy(), gt_seg_map=labels.copy(), seg_fields=["gt_seg_map"])
        return TRANSFORMS.build(STEPS[step])({**sample, "img_shape": SIZE, "ori_shape": SIZE})

    whole = run(image)
    assert whole["img"].shape[2] == channels and whole["img"].dtype == kind
    assert whole["img_shape"] == whole["img"].shape[:2]
    for channel in range(channels):
        # Three times the same, which mmcv's own steps take.
        alone = run(image[..., [channel] * 3])
        assert np.abs(whole["img"][..., channel] - alone["img"][..., 0].astype(float)).max() <= 1
        assert (whole["gt_seg_map"] == alone["gt_seg_map"]).all()


def test_padding_with_a_value_a_channel():
    pad = dict(type="PadAnyChannels", size=(6, 5), pad_val=dict(img=(1, 2, 3, 4, 5, 6)))
    image = TRANSFORMS.build(pad)(dict(img=np.zeros((4, 4, 6), np.uint8)))["img"]
    assert image[-1, -1].tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UsageError, match="6 values for the image, which has 4 channels"):
        TRANSFORMS.build(pad)(dict(img=np.zeros((4, 4, 4), np.uint8)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16], ids=lambda kind: kind.__name__)
def test_colours_are_distorted_as_mmseg_does_and_the_rest_is_left(kind):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 6)).astype(kind)
    np.random.seed(2)
    found = TRANSFORMS.build(dict(type="PhotoMetricDistortionOfRGB"))(dict(img=image.copy()))
    np.random.seed(2)
    plain = TRANSFORMS.build(dict(type="PhotoMetricDistortion"))
    blue_first = np.ascontiguousarray(image[..., 2::-1]).astype(np.uint8)
    wanted = plain(dict(img=blue_first))["img"]
    assert (found["img"][..., 2::-1] == wanted).all() and (wanted != blue_first).any()
    assert (found["img"][..., 3:] == image[..., 3:]).all() and found["img"].dtype == kind


def test_a_whole_pipeline_normalises_each_modality_by_its_own(folder):
    data = dataset(
        folder,
        dict(type="LoadPairedImage", second_channels=1, second_color_type="unchanged"),
        dict(type="LoadAnnotations"),
        dict(type="RandomResize", scale=(80, 40), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(32, 32), cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PhotoMetricDistortionOfRGB"),
        dict(type="PackSegInputs"),
    )
    mean, std = [123.7, 116.3, 103.5, 32768.0], [58.4, 57.1, 57.4, 18918.0]
    settings = dict(mean=mean, std=std, size=(32, 32), bgr_to_rgb=False, seg_pad_val=255)
    preprocessor = MODELS.build(dict(type="AnyChannelsSegDataPreProcessor", **settings))
    batch = pseudo_collate([data[index] for index in range(3)])
    raw = torch.nn.functional.pad(batch["inputs"][0].float(), (0, 32, 0, 32))[:, :32, :32]
    inputs = preprocessor(batch, training=True)["inputs"]
    assert inputs.shape == (3, 4, 32, 32)
    height, width = batch["inputs"][0].shape[1:]
    wanted = (raw - torch.tensor(mean).view(4, 1, 1)) / torch.tensor(std).view(4, 1, 1)
    torch.testing.assert_close(inputs[0, :, :height, :width], wanted[:, :height, :width])
    assert inputs[:, 3].std() < 2
