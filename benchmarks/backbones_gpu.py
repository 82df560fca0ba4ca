"""Backbones on a GPU beside timm's Swin-T and ConvNeXt-T: images a second and peak memory, inference and training.

    python benchmarks/backbones_gpu.py [--models vmamba_t mambavision_t] [--cases 224 800]

bfloat16 autocast, channels-last images. First each of ours is held to its authors' figures in float32 on this device; a
model that misses them gets no numbers. Training is forward and backward without the optimizer; 224 x 224 is the whole
classifier, larger images the backbone.
"""

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from triton.testing import do_bench

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba  # noqa: E402
from tests.parity import harness, recipe  # noqa: E402

FIGURES = {
    "vmamba_t": "vmamba/vmamba_tiny_s1l8.json",
    "vmamba_t_s2l5": "vmamba/vmamba_tiny_s2l5.json",
    "mambavision_t": "mambavision/mamba_vision_T.json",
    "localvmamba_t": "localmamba/localvmamba_tiny.json",
    "efficientvmamba_t": "efficientvmamba/efficientvmamba_tiny.json",
}
PEERS = {"swin_t": "swin_tiny_patch4_window7_224", "convnext_t": "convnext_tiny"}
CASES = {
    "224": [(128, 224, 224)],
    "800": [(2, 800, 1344), (8, 800, 1344)],
}


def check(name: str) -> str | None:
    """What is wrong with the model on this device, or None."""
    try:
        harness.check_maps(recipe.load_case(FIGURES[name]), lambda: mmmamba.create_backbone(name))
    except AssertionError as error:
        return str(error).splitlines()[0]
    return None


def build(name: str, size: tuple[int, int]) -> torch.nn.Module:
    """The classifier at 224, as such figures are published; else the backbone with its four maps."""
    classifier = size == (224, 224)
    if name not in PEERS:
        return mmmamba.create_backbone(name, classifier=classifier)
    import timm

    more = dict(img_size=size, strict_img_size=False) if name == "swin_t" else {}
    return timm.create_model(PEERS[name], features_only=not classifier, **more)


def measure(name: str, batch: int, height: int, width: int) -> list[str]:
    """Images a second without and with gradients, and GiB at the peak of training."""
    model = build(name, (height, width)).cuda()
    x = torch.randn(batch, 3, height, width, device="cuda").to(memory_format=torch.channels_last)

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            model(x)

    def train() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            outputs = model(x)
            loss = sum(
                m.float().mean()
                for m in (outputs if isinstance(outputs, (tuple, list)) else [outputs])
            )
        loss.backward()
        model.zero_grad(set_to_none=True)

    model.eval()
    inference = do_bench(infer, warmup=300, rep=1000, return_mode="median")
    model.train()
    train()
    torch.cuda.reset_peak_memory_stats()
    training = do_bench(train, warmup=300, rep=1500, return_mode="median")
    memory = torch.cuda.max_memory_allocated() / 2**30
    return [f"{batch / inference * 1e3:.0f}", f"{batch / training * 1e3:.0f}", f"{memory:.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", choices=FIGURES, default=["vmamba_t", "mambavision_t"]
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    if harness.DEVICE != "cuda":
        parser.error(
            "set MMMAMBA_PARITY_DEVICE=cuda: the figures are checked on the device that is timed"
        )
    wrong = {name: problem for name in args.models if (problem := check(name))}
    for name, problem in wrong.items():
        print(f"{name}: {problem}")
    models = [name for name in args.models if name not in wrong]
    table = Table(
        "input",
        "model",
        "inference img/s",
        "forward+backward img/s",
        "training GiB",
        title=f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16 autocast",
    )
    for case in args.cases:
        for batch, height, width in CASES[case]:
            for name in [*models, *args.peers]:
                table.add_row(
                    f"{batch} x {height} x {width}", name, *measure(name, batch, height, width)
                )
                torch.cuda.empty_cache()
            table.add_section()
    Console(width=110).print(table)
    print(f"checked against the authors' figures before: {', '.join(models)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
