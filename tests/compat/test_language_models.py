"""mmpretrain and mmdet import where a transformers is installed that mmpretrain does not fit."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("mmpretrain")
SCRIPT = """
import mmmamba, mmpretrain.models, mmdet.models
from mmpretrain.utils.dependency import WITH_MULTIMODAL, satisfy_requirement
assert satisfy_requirement("transformers>=4.28.0") and not WITH_MULTIMODAL
"""


@pytest.mark.slow
def test_beside_transformers_5(tmp_path):
    facts = tmp_path / "transformers-5.1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 5.1.0\n")
    path = os.pathsep.join([str(tmp_path), *(one for one in sys.path if one)])
    environment = os.environ | dict(PYTHONPATH=path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
