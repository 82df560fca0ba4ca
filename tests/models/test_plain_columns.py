"""What plain columns promise beyond the contract: any image size, a pyramid, other tokens."""

import weakref

import pytest
import torch

import mmmamba
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.models.backbones import LocalVim, Vim

COLUMNS = {"Vim": Vim, "LocalVim": LocalVim}
every_column = pytest.mark.parametrize("family", COLUMNS)


def tiny(family, **given):
    torch.manual_seed(0)
    return COLUMNS[family](**COLUMNS[family].TINY | given).eval()


def image(height, width):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@every_column
def test_pyramid(family):
    model = tiny(family, pyramid=True)
    assert model.out_strides == [4, 8, 16, 32]
    with torch.no_grad():
        assert [m.shape[2:] for m in model(image(96, 64))] == [(24, 16), (12, 8), (6, 4), (3, 2)]
    assert {"fpn1.0.weight", "fpn1.1.running_mean", "fpn1.3.weight", "fpn2.0.bias"} <= set(
        model.state_dict()
    )
    three = tiny(family, pyramid=(8, 16, 32), out_indices=(1, 2, 3))
    assert three.out_strides == [8, 16, 32]
    with torch.no_grad():
        assert [m.shape[2:] for m in three(image(96, 64))] == [(12, 8), (6, 4), (3, 2)]
    assert {"fpn2.0.bias"} <= set(three.state_dict()) and not hasattr(three, "fpn1")
    with pytest.raises(ValueError, match="strides"):
        tiny(family, pyramid=(8, 24), out_indices=(2, 3))
    with pytest.raises(ValueError, match="4 out_indices"):
        tiny(family, pyramid=True, out_indices=(3,))


def test_pyramid_over_stride_8():
    model = tiny("Vim", pyramid=True, stride=8)
    with torch.no_grad():
        assert [m.shape[2:] for m in model(image(104, 72))] == [(24, 16), (12, 8), (6, 4), (3, 2)]


@every_column
def test_the_last_map_does_not_need_the_others(family):
    with torch.no_grad():
        every, last = tiny(family)(image(64, 80)), tiny(family, out_indices=(3,))(image(64, 80))
    torch.testing.assert_close(last[0], every[-1])


@pytest.mark.parametrize("cls_token", ["none", "head", "middle"])
@pytest.mark.parametrize("size", [(64, 96), (80, 48)])
def test_resizing_while_running_equals_resizing_while_loading(cls_token, size):
    old = tiny("Vim", cls_token=cls_token)
    new = tiny("Vim", cls_token=cls_token, img_size=size)
    report = new.load_weights(old.state_dict())
    assert report.resized == ["tokens.pos_embed"]
    with torch.no_grad():
        for a, b in zip(new(image(*size)), old(image(*size))):
            torch.testing.assert_close(a, b)


def test_published_weights_keep_their_class_token_unless_told():
    old = tiny("Vim", cls_token="middle").state_dict()
    new = tiny("Vim", cls_token="none")
    with pytest.raises(CheckpointError, match="tokens.cls_token"):
        new.load_weights(old)
    load_weights(new, old, allow_unexpected=["tokens.cls_token"])
    cells = torch.cat([old["tokens.pos_embed"][:, :8], old["tokens.pos_embed"][:, 9:]], 1)
    assert torch.equal(new.tokens.pos_embed, cells)


def test_rms_scales_load_into_layer_norms():
    """As LocalVim's authors do for detection and segmentation.

    Their files hold the rotary tables too.
    """
    rms, layer = tiny("LocalVim", classifier=True), tiny("LocalVim", norm="layer")
    tables = {f"rope.freqs_{name}": torch.zeros(16, 16) for name in ("cos", "sin")}
    layer.load_weights(rms.state_dict() | tables)
    assert torch.equal(layer.layers[1].norm.weight, rms.layers[1].norm.weight)


def test_rotation_spares_the_class_token():
    model = tiny("Vim", cls_token="middle")
    sequence, layout = model.tokens(torch.randn(1, 3, 3, 16))
    cos, sin = model._rotation(layout, sequence)
    assert (cos[layout.places[0]] == 1).all() and (sin[layout.places[0]] == 0).all()
    assert (sin[layout.places[0] + 1] != 0).any()


def test_patches_are_dropped_or_padded():
    with torch.no_grad():
        assert tiny("Vim")(image(63, 79))[0].shape[2:] == (3, 4)
        assert tiny("Vim", pad=True)(image(63, 79))[0].shape[2:] == (4, 5)
        assert tiny("LocalVim")(image(63, 79))[0].shape[2:] == (4, 5)
        assert tiny("LocalVim")(image(7, 79))[0].shape[2:] == (1, 5)
        with pytest.raises(ValueError, match="an image of 7x79 holds no patch of 16x16"):
            tiny("Vim")(image(7, 79))


@every_column
def test_double_precision(family):
    model = tiny(family)
    with torch.no_grad():
        want = model(image(64, 64))
        for a, b in zip(model.double()(image(64, 64).double()), want):
            assert a.dtype == torch.float64
            torch.testing.assert_close(a.float(), b, rtol=1e-3, atol=1e-4)


@every_column
def test_unknown_choices(family):
    for argument, value in dict(norm="batch", features="both", cls_token="tail").items():
        with pytest.raises(ValueError, match=f"{argument} is '{value}', wanted one of"):
            tiny(family, **{argument: value})


@every_column
def test_streams_that_nobody_takes_are_let_go(family):
    model, seen, alive = tiny(family, out_indices=(3,)), [], []

    def look(block, given, outputs):
        alive.append(sum(one() is not None for one in seen))
        seen.append(weakref.ref(outputs[1]))

    for layer in model.layers:
        layer.register_forward_hook(look)
    with torch.no_grad():
        model(image(64, 64))
    assert max(alive) <= 2 < len(alive) - 1


@pytest.mark.parametrize("name", ["vim_t", "localvim_t"])
@pytest.mark.parametrize("stages", [(0, 1, 2, 3), (1, 2, 3), (3,)])
def test_out_indices_of_stages_are_refused(name, stages):
    """Carried over from a pyramid they would take the first blocks of a long column."""
    with pytest.raises(
        ValueError, match=r"counts its 2\d blocks.*out_indices=\(\d, \d+, 1\d, \d\d\).*pyramid"
    ):
        mmmamba.create_backbone(name, out_indices=stages)
