"""`--demo` of a saliency model, from an empty directory to maps of one's own images."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmmamba


@pytest.mark.slow
def test_it_learns_where_circles_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = mmmamba.train("sum/sum_salicon-256x256", demo=True)
    assert run.metrics["saliency/CC"] > 0.9 and run.metrics["saliency/AUC"] > 0.7
    pictures = {path.name for path in (run.work_dir / "pictures").iterdir()}
    assert {"batch_0.jpg", "val_epoch_5.jpg", "curves.png"} <= pictures
    model = mmmamba.Predictor(run.work_dir)
    found = model(next(Path(run.work_dir).glob("shapes_saliency/images/val/*.png")))
    assert model.task == "saliency" and found.map.shape == (96, 96)
    tested = mmmamba.test(run.work_dir, out="maps")
    assert tested.metrics["saliency/KL"] == pytest.approx(run.metrics["saliency/KL"], rel=0.05)
    assert len([*Path("maps").glob("*.png")]) == 48
