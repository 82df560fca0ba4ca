"""Hugging Face's door: backbones as folders of `config.json` and `model.safetensors`.

`Backbone("vmamba_t", out_indices=(1, 2, 3)).save_pretrained("mine")` writes one,
`Backbone.from_pretrained("mine")` reads it, or a repository of the Hub, and `push_to_hub` uploads.
"""

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .errors import UsageError

try:
    from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
except ModuleNotFoundError as error:
    if error.name != "huggingface_hub":
        raise
    raise UsageError(
        "mmmamba.hub needs huggingface_hub, which is not here: `pip install huggingface_hub`"
    ) from error

from .checkpoints import load_weights
from .models.backbones import create_backbone

FILE = "model.safetensors"


class Backbone(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="mmmamba",
    tags=["mamba", "backbone", "image-feature-extraction"],
):
    """A backbone that can be saved to a folder or the Hub and made again from there.

    Args:
        name, arguments: of `mmmamba.create_backbone`; `config.json` keeps them.

    Attributes:
        backbone: what `create_backbone` made. In the file of weights its names begin so.
        out_channels, out_strides: of its maps.

    Raises:
        UsageError: an argument that `config.json` cannot keep, or `weights`, which it must not.
    """

    def __init__(self, name: str, **arguments: Any):
        super().__init__()
        # Whoever reads the folder would load them once more, or have the folder choose a file.
        if "weights" in arguments:
            raise UsageError(
                "mmmamba.hub.Backbone keeps its arguments, and weights is none to keep: "
                "call .backbone.load_weights(...) after it is made"
            )
        try:
            json.dumps(arguments)
        except TypeError as error:
            raise UsageError(f"config.json cannot keep the arguments of {name}: {error}") from error
        self.backbone = create_backbone(name, **arguments)
        self.out_channels = self.backbone.out_channels
        self.out_strides = self.backbone.out_strides

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...] | Tensor:
        """What the backbone returns: maps `(B, C, H, W)`, or a classifier's logits."""
        return self.backbone(x_BCHW)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        **arguments: Any,
    ) -> "Backbone":
        # Not the mixin's own, which leaves as they are weights that the file lacks, and unpickles.
        if "name" not in arguments:
            raise UsageError(
                f"{model_id} has no config.json that says the name of a backbone here. For weights "
                "of its authors: mmmamba.create_backbone(name, weights=<path or URL of the file>)"
            )
        file = Path(model_id, FILE)
        if not Path(model_id).is_dir():
            downloaded = hf_hub_download(
                repo_id=model_id,
                filename=FILE,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
            file = Path(downloaded)
        model = cls(**arguments)
        load_weights(model, file)
        return model.to(map_location).eval()
