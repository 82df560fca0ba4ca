"""mmpretrain's models of language are left out beside a transformers that they do not fit."""

import pytest

from mmmamba.compat import language_models


@pytest.mark.parametrize("version, kept", [("4.57.1", True), ("5.0.0", False)])
def test_also_where_mmpretrain_was_imported_first(monkeypatch, version, kept):
    dependency = pytest.importorskip("mmpretrain.utils.dependency")
    monkeypatch.setattr(dependency, "WITH_MULTIMODAL", True)
    monkeypatch.setattr(language_models, "version", lambda name: version)
    language_models.leave_language_models_out()
    assert kept == dependency.WITH_MULTIMODAL
