"""Images of every kind go in, results come out, by weights that were loaded whole."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask

from mmmamba.checkpoints import CheckpointError
from mmmamba.errors import UsageError
from mmmamba.inference import Predictor, UnreadableImage

from ..narrow import narrow
from .colours import CLASSES, DETECTOR, draw_image, write_run

ROOT = Path(__file__).parents[2]


def boxes(result):
    return {tuple(box) for box in result.objects.boxes.tolist()}


def test_three_lines(detector_run, tmp_path):
    image = np.full((60, 80, 3), 20, np.uint8)
    image[10:30, 20:50, 2] = 250
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    model = Predictor(detector_run)
    results = model(tmp_path / "photo.png")
    drawn = cv2.imread(str(results.save(tmp_path / "found" / "photo.jpg")))
    assert drawn.shape == (6 * 60, 6 * 80, 3), "small images are enlarged to be looked at"
    assert results.image.shape == (60, 80, 3)
    (entry,) = results.to_coco(image_id=7)
    assert (
        entry["image_id"] == 7 and entry["category_id"] == 3 and entry["bbox"] == [20, 10, 30, 20]
    )
    assert coco_mask.area(entry["segmentation"]) == 600 and 0.9 < entry["score"] < 0.93


@pytest.mark.parametrize("kind", ["grey", "rgba", "sixteen", "turned"])
def test_images_are_read_as_in_training(detector_run, tmp_path, kind):
    colour = draw_image(40, 60, 4, side=(8, 16))
    if kind == "turned":
        upright = Image.fromarray(colour[..., ::-1])
        exif = upright.getexif()
        exif[0x0112] = 6
        path = tmp_path / "turned.png"
        upright.save(path, exif=exif)
        wanted = np.rot90(colour, -1)
    else:
        stored = {
            "grey": cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY),
            "rgba": np.dstack([colour, np.full((40, 60), 9, np.uint8)]),
            "sixteen": colour.astype(np.uint16) * 257,
        }[kind]
        path = tmp_path / f"{kind}.png"
        cv2.imwrite(str(path), stored)
        wanted = np.dstack([stored] * 3) if kind == "grey" else colour
    result = Predictor(detector_run)(path)
    assert result.image.dtype == np.uint8 and np.array_equal(result.image, wanted)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n then nothing"])
def test_what_is_no_image_is_told(detector_run, tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="broken.png"):
        Predictor(detector_run)(path)


@pytest.mark.parametrize("run", ["detector_run", "segmentor_run"])
def test_results_do_not_depend_on_what_shares_the_batch(run, request):
    images = [
        draw_image(h, w, 6, seed)
        for seed, (h, w) in enumerate([(60, 90), (90, 60), (60, 90), (128, 128)])
    ]
    alone = [Predictor(request.getfixturevalue(run))(image) for image in images]
    together = Predictor(request.getfixturevalue(run), batch_size=3, tile=100).predict(images)
    for one, other in zip(alone, together):
        assert one.image is other.image
        if run == "detector_run":
            assert boxes(one) == boxes(other)
        else:
            assert np.array_equal(one.labels, other.labels)


def test_objects_below_the_threshold_are_left_out_and_nothing_is_fine(detector_run, tmp_path):
    image = np.full((50, 50, 3), 20, np.uint8)
    image[5:9, 5:9, 0] = 250
    assert len(Predictor(detector_run, score_thr=0.2)(image)) == 1
    empty = Predictor(detector_run, score_thr=0.3)(image)
    assert (
        len(empty) == 0 and empty.to_coco() == [] and empty.save(tmp_path / "empty.png").is_file()
    )


def test_shares_of_a_segmentation(segmentor_run, tmp_path):
    image = np.full((40, 50, 3), 20, np.uint8)
    image[:, :10, 1] = 250
    result = Predictor(segmentor_run)(image)
    assert result.shares() == {"nothing": 0.8, "green": 0.2}
    stored = cv2.imread(str(result.save_labels(tmp_path / "labels.png")), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(stored, result.labels)
    drawn = result.plot()
    assert drawn.shape[0] == 400 and drawn.shape[1] > 500, "with a legend at the right"
    assert (drawn[:, -1] == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        dict(score_thr=2),
        dict(tile=8),
        dict(overlap=1.0),
        dict(batch_size=0),
        dict(device="cuda:9"),
        dict(device="gpu"),
        dict(precision="half"),
        dict(precision="float16", device="cpu"),
        dict(graphs="some"),
        dict(cfg_options={"model.data_preprocesor.mean": 0}),
    ],
)
def test_values_out_of_range_are_told(detector_run, wrong):
    with pytest.raises(
        UsageError,
        match=str(next(iter(wrong.values())))[:4] if "cfg_options" not in wrong else "mean",
    ):
        Predictor(detector_run, **wrong)


def test_category_ids_are_those_of_the_data_set(tmp_path):
    run = write_run(
        tmp_path / "run",
        DETECTOR.replace("not/here.json", str(tmp_path / "ids.json")),
        dataset_meta=dict(classes=CLASSES),
    )
    assert Predictor(run).classes.ids == (1, 2, 3)
    (tmp_path / "ids.json").write_text(
        '{"categories": [{"id": 9, "name": "red"}, {"id": 4, "name": "green"}, '
        '{"id": 7, "name": "blue"}]}'
    )
    assert Predictor(run).classes.ids == (7, 4, 9)


@pytest.fixture(scope="module")
def mask_rcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VMamba under Mask R-CNN as MMEngine leaves it, with weights as they start."""
    folder = tmp_path_factory.mktemp("runs") / "mask_rcnn"
    folder.mkdir()
    cfg = Config.fromfile(ROOT / "configs" / "mask_rcnn" / "vmamba_t_1x_coco.py")
    cfg.model.backbone = dict(type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)))
    narrow(cfg.model)
    cfg.model.neck.in_channels = [16, 32, 64, 128]
    cfg.test_dataloader.dataset.pipeline[1].scale = (64, 64)
    cfg.dump(folder / "tiny.py")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
    # Of 80 classes drawn at random none is sure.
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.5)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(cfg="not read")), folder / "epoch_1.pth"
    )
    (folder / "last_checkpoint").write_text("/moved/away/epoch_1.pth")
    return folder


def test_a_mask_rcnn_of_mmdet_with_our_backbone(mask_rcnn, tmp_path):
    """Names, colours and ids are COCO's, which the config's data set knows."""
    model = Predictor(mask_rcnn, score_thr=0.05)
    results = model(draw_image(48, 64, 4))
    assert (
        model.classes.names[0] == "person"
        and model.classes.ids[-1] == 90
        and model.task == "detection"
    )
    assert len(results) > 0 and (np.diff(results.objects.scores) <= 0).all()
    for entry in results.to_coco():
        assert (
            entry["segmentation"]["size"] == [48, 64] and entry["category_id"] in model.classes.ids
        )
    assert results.plot().shape == (8 * 48, 8 * 64, 3)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda state: state.popitem(last=False),
            "1 of 100 tensors are not in the file: patch_embed",
        ),
        (
            lambda state: state.pop("roi_head.bbox_head.fc_cls.weight"),
            "roi_head.bbox_head.fc_cls.weight",
        ),
        (lambda state: state.update({"neck.more": torch.zeros(1)}), "neck.more"),
        (
            lambda state: [state.pop(n) for n in list(state) if not n.startswith("backbone.")],
            "a backbone alone",
        ),
    ],
)
def test_no_weight_is_left_as_it_started(mask_rcnn, tmp_path, change, complaint):
    held = torch.load(mask_rcnn / "epoch_1.pth", weights_only=True)
    change(held["state_dict"])
    torch.save(held, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=complaint):
        Predictor(mask_rcnn, tmp_path / "other.pth")


def test_half_precision_finds_nearly_the_same(mask_rcnn, segmentor_run):
    image = draw_image(48, 64, 4)
    exact = Predictor(mask_rcnn, score_thr=0.05, device="cpu", precision="float32")
    # Nothing but MMEngine's own step, as it was.
    plain = Predictor(mask_rcnn, score_thr=0.05, device="cpu", precision="float32")
    plain.model.test_step = plain.model.test_step.step
    half = Predictor(mask_rcnn, score_thr=0.05, device="cpu", precision="bfloat16")
    want, same, near = (model(image).objects for model in (exact, plain, half))
    assert np.array_equal(want.scores, same.scores) and np.array_equal(want.boxes, same.boxes)
    assert want.masks == same.masks
    assert not np.array_equal(near.scores[:3], want.scores[:3])
    assert np.allclose(near.scores[:3], want.scores[:3], atol=0.02)
    assert near.scores.dtype == near.boxes.dtype == np.float32
    labels = [
        Predictor(segmentor_run, device="cpu", precision=precision)(image).labels
        for precision in ("float32", "bfloat16")
    ]
    assert np.array_equal(*labels)


def test_weights_under_their_authors_names(mask_rcnn, tmp_path):
    held = torch.load(mask_rcnn / "epoch_1.pth", weights_only=True)
    names = {
        name: name.replace("backbone.patch_embed.0.", "backbone.patch_embed.proj.")
        for name in held["state_dict"]
    }
    theirs = {names[name]: tensor for name, tensor in held["state_dict"].items()}
    assert theirs.keys() != held["state_dict"].keys()
    torch.save(dict(state_dict=theirs), tmp_path / "theirs.pth")
    image = draw_image(48, 64, 4)
    ours = Predictor(mask_rcnn, score_thr=0.05)(image)
    assert boxes(ours) and boxes(
        Predictor(mask_rcnn, tmp_path / "theirs.pth", score_thr=0.05)(image)
    ) == boxes(ours)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tile", [None, 96])
def test_a_gpu_finds_what_the_cpu_finds(mask_rcnn, segmentor_run, tile, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    image = draw_image(150, 200, 12)
    for run in (mask_rcnn, segmentor_run):
        one, other = (
            Predictor(run, device=device, score_thr=0.1, tile=tile, precision="float32")(image)
            for device in ("cpu", "cuda")
        )
        if run is segmentor_run:
            assert (one.labels == other.labels).mean() > 0.999
        else:
            assert abs(len(one) - len(other)) <= 1 and len(one) > 0
            assert np.allclose(one.objects.boxes[0], other.objects.boxes[0], atol=0.5)
            assert np.allclose(one.objects.scores[0], other.objects.scores[0], atol=1e-3)
