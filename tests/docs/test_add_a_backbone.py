"""The worked example of docs/add_a_backbone.md runs and keeps every backbone's promises."""

import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

import mmmamba
from mmmamba import layers
from mmmamba.checkpoints import KEY_MAPS, CheckpointError, catalogue, published
from mmmamba.commands import main
from mmmamba.datasets.shapes import CLASSES
from mmmamba.inference import Predictor
from mmmamba.models import backbones
from mmmamba.ops import route
from tests.models import test_backbone_contract as contract

from ..commands import test_inspect
from ..commands.test_inspect import save_run
from ..configs.conftest import sample_with_a_square
from .blocks import run_page

image = test_inspect.image
PAGE = (Path(__file__).parents[2] / "docs" / "add_a_backbone.md").read_text()
EXAMPLE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
PROMISES = {
    name: test
    for name, test in vars(contract).items()
    if name.startswith("test_") and "family" in inspect.signature(test).parameters
}
SMALL = dict(embed_dims=16, depths=(1, 1, 1, 1))
COMB = 'backbone=dict(_delete_=True, type="CombMamba", embed_dims=16, depths=(1, 1, 1, 1))'
DETECTOR = re.sub(r"backbone=dict\(.*\)\)", COMB, test_inspect.DETECTOR)
SEGMENTOR = re.sub(r"backbone=dict\(.*\)", COMB, test_inspect.SEGMENTOR).format(
    widths=[16, 32, 64, 128], third=64
)


@pytest.fixture(scope="module")
def comb_mamba(tmp_path_factory):
    """The example as a file of the folder that the page names, and forgotten afterwards."""
    folder = tmp_path_factory.mktemp("backbones")
    (folder / "comb_mamba.py").write_text(EXAMPLE)
    backbones.__path__.append(str(folder))
    assert "CombMamba" in backbones.import_families()
    yield importlib.import_module("mmmamba.models.backbones.comb_mamba")
    backbones.__path__.remove(str(folder))
    MODELS.module_dict.pop("CombMamba")


def arguments(test) -> list[dict]:
    """What a promise is tested with, beside the family."""
    marks = [mark.args for mark in test.pytestmark if mark.name == "parametrize"]
    marks = [(name, values) for name, values in marks if name != "family"]
    names = [name for name, _ in marks]
    return [dict(zip(names, values)) for values in itertools.product(*(v for _, v in marks))]


@pytest.mark.parametrize("promise", PROMISES)
def test_the_example_keeps_the_promise(promise, comb_mamba, request, monkeypatch):
    monkeypatch.setitem(contract.FAMILIES, "CombMamba", comb_mamba.CombMamba)
    test = PROMISES[promise]
    for given in arguments(test):
        rest = inspect.signature(test).parameters.keys() - given.keys() - {"family"}
        fixtures = {name: request.getfixturevalue(name) for name in rest}
        test(family="CombMamba", **given, **fixtures)


def test_the_example_is_short():
    assert sum(bool(line.strip()) for line in EXAMPLE.splitlines()) <= 90


def test_the_mixers_that_are_named_fit_their_blocks():
    maps, sequences = re.search(
        r"for `MixerBlock`, (.*?); of .* `StreamBlock`, (.*?) \|", PAGE
    ).groups()
    arguments = dict(SS2D={}, RouteMixer=dict(routes=("row", "column")), BidirectionalMixer={})
    for name in re.findall(r"`(\w+)`", maps):
        mixer = getattr(layers, name)(16, **arguments.get(name, dict(num_heads=2)))
        assert layers.MixerBlock(16, mixer)(torch.randn(1, 3, 4, 16)).shape == (1, 3, 4, 16)
    layout = layers.TokenLayout(3, 4)
    for name in re.findall(r"`(\w+)`", sequences):
        mixer = getattr(layers, name)(16, **arguments[name])
        block = layers.StreamBlock(mixer, layers.LayerNorm(16))
        assert block(torch.randn(1, 12, 16), None, layout)[0].shape == (1, 12, 16)


def test_its_route_its_names_and_its_config(comb_mamba):
    assert route("comb", 2, 5).tolist() == [0, 5, 2, 7, 4, 9, 3, 8, 1, 6]
    assert "comb_t" in mmmamba.list_backbones()
    special = {
        # The first block is the module that was imported.
        "def comb(": str,
        "KEY_MAP": of_a_published_family,
        "backbone = ": of_config,
    }
    run_page("docs/add_a_backbone.md", special=special)


def of_a_published_family(block):
    """What the class says is known, with no entry elsewhere."""
    exec(block, {"__name__": "comb_mamba"})
    try:
        assert published("comb_t").url.endswith("/v1/comb_t.pth")
        assert published("comb_t", "mask_rcnn_1x").results == "box AP 46.5, mask AP 42.0"
        assert catalogue.published_sizes()["comb_s"].gflops == "9.8"
        key_map = KEY_MAPS["CombMamba"]
        with torch.device("meta"):
            for name in ("comb_t", "comb_s"):
                state = mmmamba.create_backbone(name).state_dict()
                assert key_map.fingerprint.describe(state).startswith(f"{name} (blocks 2, 2, ")
        assert any(re.search(key_map.mark, name) for name in state)
    finally:
        for table in (KEY_MAPS, catalogue.PUBLISHED, catalogue.SIZES):
            table.pop("CombMamba")


def of_config(block):
    config = {}
    exec(block, config)
    with torch.device("meta"):
        model = MODELS.build(config["backbone"])
    assert model.layers[0].blocks[0].op.routes == ("comb", "comb_reversed", "row", "row_reversed")


def same(backbone, saved) -> bool:
    state = backbone.state_dict()
    return state.keys() == saved.keys() and all(torch.equal(state[n], saved[n]) for n in saved)


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_its_files_are_loaded_again(comb_mamba, tmp_path, wrapper):
    torch.manual_seed(1)
    saved = mmmamba.create_backbone("comb_t", **SMALL).state_dict()
    path = tmp_path / "comb.pth"
    torch.save({wrapper: saved} if wrapper else saved, path)
    assert same(mmmamba.create_backbone("comb_t", weights=path, **SMALL), saved)
    init_cfg = dict(type="Pretrained", checkpoint=str(path))
    built = MODELS.build(dict(type="CombMamba", arch="comb_t", init_cfg=init_cfg, **SMALL))
    built.init_weights()
    assert same(built, saved)


def test_a_file_that_does_not_fit_is_an_error(comb_mamba, tmp_path):
    saved = mmmamba.create_backbone("comb_t", **SMALL).state_dict()
    name, tensor = saved.popitem()
    with pytest.raises(CheckpointError, match=f"does not fit this CombMamba(?s:.*)not in .*{name}"):
        mmmamba.create_backbone("comb_t", weights=saved, **SMALL)
    saved[name] = tensor
    with pytest.raises(CheckpointError, match="tensors have another shape"):
        mmmamba.create_backbone("comb_t", weights=saved, **SMALL | dict(embed_dims=32))


@pytest.fixture(scope="module")
def detector(comb_mamba, tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("comb") / "detector", DETECTOR, dict(classes=CLASSES))


@pytest.fixture(scope="module")
def segmentor(comb_mamba, tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("comb") / "segmentor", SEGMENTOR, {})


def test_it_starts_from_the_backbone_of_its_detector(detector):
    path = detector / "epoch_1.pth"
    init_cfg = dict(type="Pretrained", checkpoint=str(path))
    backbone = MODELS.build(dict(type="CombMamba", init_cfg=init_cfg, **SMALL))
    backbone.init_weights()
    whole = torch.load(path, weights_only=True)["state_dict"]
    theirs = {n[9:]: t for n, t in whole.items() if n.startswith("backbone.")}
    assert same(backbone, theirs)


def trained_a_step(run, scope, samples) -> dict[str, torch.Tensor]:
    """The losses of a run's network for images of 64 x 64, once they have reached its backbone."""
    cfg = Config.fromfile(run / "run.py")
    if "decode_head" in cfg.model:
        cfg.model.data_preprocessor.size = (64, 64)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    with DefaultScope.overwrite_default_scope(scope):
        model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
        data = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
        losses = model(**data, mode="loss")
    total, told = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is not None for p in model.backbone.parameters())
    return told


def test_a_detector_trains_a_step_with_it(detector):
    sample = sample_with_a_square()
    sample.gt_instances.labels[:] = 0
    told = trained_a_step(detector, "mmdet", [sample])
    assert {"loss_rpn_cls", "loss_cls", "loss_mask"} <= set(told)


def test_a_segmentor_trains_a_step_with_it(segmentor):
    samples = []
    for _ in range(2):
        truth = PixelData(data=torch.randint(0, 19, (1, 64, 64)))
        samples.append(SegDataSample(gt_sem_seg=truth, metainfo=dict(img_shape=(64, 64))))
    assert {"decode.loss_ce", "aux.loss_ce"} <= set(trained_a_step(segmentor, "mmseg", samples))


def test_infer_with_its_detector_and_its_segmentor(detector, segmentor, image):
    assert len(Predictor(detector)(image)) > 0
    assert Predictor(segmentor)(image).labels.shape == (72, 96)


@pytest.mark.parametrize("run", ["detector", "segmentor"])
def test_inspect_draws_where_its_scans_go(run, image, request, tmp_path):
    folder = request.getfixturevalue(run)
    asked = ["--what", "scan", "attention", "features", "cam"]
    assert main(["inspect", str(folder), str(image), *asked, "--out", str(tmp_path)]) == 0
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {"scan", "attention", "features", "cam"}
