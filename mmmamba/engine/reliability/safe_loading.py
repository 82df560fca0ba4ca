"""MMEngine's readers of files without those parts of them that run what a file says.

Our tools use these instead:

- Checkpoints: MMEngine 0.10.12 unpickles what its strict reader refuses, and any file from a URL at
  once.
- YAML: its reader makes any Python object that a file asks for.
- Pickled annotations and proposals, which are programs by nature.
- mmdet's dictionaries that processes send each other as pickles (CVE-2024-12044).
"""

import io
import os
import tempfile
from collections.abc import Mapping
from typing import Any, NoReturn

import yaml
from mmengine.fileio import PickleHandler, YamlHandler, register_handler
from mmengine.runner import CheckpointLoader, checkpoint

from ...checkpoints.run_state import read_run_checkpoint
from ...errors import UsageError


def refuse_unpickling() -> None:
    """Put the strict readers in MMEngine's place.

    They serve every scheme that it loads from: files, http, s3, ….
    """
    checkpoint._safe_torch_load = read_weights_only
    # `torchvision://`, `open-mmlab://` and their like look this name up.
    checkpoint.load_from_http = load_from_http
    CheckpointLoader.register_scheme(("http://", "https://", "file://"), load_from_http, force=True)
    register_handler(["pkl", "pickle"])(NoPickles)
    register_handler(["yaml", "yml"])(PlainYaml)


def refuse_pickled_messages() -> None:
    """Close mmdet's way from a tensor that another process sent to an object. Imports mmdet."""
    from mmdet.utils import dist_utils

    dist_utils.tensor2obj = _refuse_message


def read_weights_only(
    file: Any, map_location: Any = None, weights_only: bool | None = None
) -> Mapping:
    """A path or an open file through `read_run_checkpoint`, whatever is asked for.

    Raises:
        CheckpointError: the file holds objects that are not weights, or is damaged.
    """
    if not isinstance(file, io.IOBase):
        return read_run_checkpoint(file, map_location)
    # What s3 and its like give. The checks of archives want a file.
    with tempfile.NamedTemporaryFile(suffix=".pth") as copy:
        copy.write(file.read())
        copy.flush()
        return read_run_checkpoint(copy.name, map_location)


def load_from_http(
    filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = False
) -> Mapping:
    """MMEngine's loader of this name, through our download.

    One process fetches, all others wait for the file.

    Raises:
        CheckpointError: the download failed, or the file is refused.
    """
    if model_dir is not None:
        raise UsageError(
            f"{filename}: downloads go to torch.hub's folder (TORCH_HOME), not to {model_dir!r}"
        )
    return read_run_checkpoint(filename, map_location)


class PlainYaml(YamlHandler):
    """YAML of numbers, texts, lists and mappings.

    Configs are not written in it, but MMEngine looks a base such as `mmdet::retinanet/…` up in the
    `model-index.yml` of that package.
    """

    def load_from_fileobj(self, file: Any, **options: Any) -> Any:
        try:
            return yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise UsageError(
                f"{getattr(file, 'name', 'the YAML text')} cannot be read: {error}"
            ) from error


class NoPickles(PickleHandler):
    """Writes pickles, as `--out` asks for, and reads none."""

    def load_from_fileobj(self, file: Any, **options: Any) -> NoReturn:
        raise UsageError(
            f"{getattr(file, 'name', 'the file')} is a pickle, which can run code when read. "
            "Refused. If you trust "
            'whoever made it, convert it: python -c "import json, pickle; '
            "json.dump(pickle.load(open('X.pkl', 'rb')), open('X.json', 'w'))\""
        )

    def load_from_path(self, filepath: str | os.PathLike, **options: Any) -> NoReturn:
        with open(filepath, "rb") as file:
            self.load_from_fileobj(file)


def _refuse_message(tensor: Any) -> NoReturn:
    raise UsageError(
        "mmdet.utils.all_reduce_dict was called with a plain dict, whose keys it sends as a pickle "
        "(CVE-2024-12044). Refused. Pass an OrderedDict, or call mmengine.dist.all_reduce_dict"
    )
