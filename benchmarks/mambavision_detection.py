"""MambaVision-T with its detection windows, which make one window of the whole map: 12,544 tokens at 800 x 1333.

    MMMAMBA_PARITY_DEVICE=cuda python benchmarks/mambavision_detection.py

First the authors' figures for these windows in float32, then time and memory in bfloat16, and the distance to float32.
"""

import sys
from pathlib import Path

import torch
from triton.testing import do_bench

sys.path.insert(0, str(Path(__file__).parents[1]))
import mmmamba  # noqa: E402
from tests.parity import harness, recipe  # noqa: E402

WINDOWS = (8, 8, 112, 56)


def build() -> torch.nn.Module:
    return mmmamba.create_backbone("mambavision_t", window_size=WINDOWS)


def main() -> None:
    assert harness.DEVICE == "cuda", "set MMMAMBA_PARITY_DEVICE=cuda"
    harness.check_maps(recipe.load_case("mambavision/mamba_vision_T_det.json"), build)
    print("float32 on this device equals the authors' figures (5e-5 of the std)")
    torch.manual_seed(0)
    model = build().cuda().eval()
    x = torch.randn(1, 3, 800, 1333, device="cuda")
    with torch.no_grad():
        want = model(x)
        with torch.autocast("cuda", torch.bfloat16):
            got = model(x)
    for i, (a, b) in enumerate(zip(got, want)):
        print(
            f"stage{i} {tuple(b.shape)}: bfloat16 off by "
            f"{float((a.float() - b).pow(2).mean().sqrt() / b.std()):.4f} of the std"
        )

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            model(x)

    def train() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = sum(m.float().mean() for m in model(x))
        loss.backward()

    for name, step in (("inference", infer), ("forward+backward", train)):
        model.train(step is train)
        torch.cuda.reset_peak_memory_stats()
        milliseconds = do_bench(step, warmup=200, rep=800, return_mode="median")
        print(
            f"{name} at 1 x 800 x 1333: {milliseconds:.1f} ms, "
            f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB, "
            f"{torch.cuda.get_device_name()}"
        )


if __name__ == "__main__":
    main()
