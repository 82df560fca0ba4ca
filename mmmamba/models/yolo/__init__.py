"""Mamba YOLO (arXiv 2406.05835), whose parts serve other one-stage detectors as well.

An image passes through, in this order:

- `mmmamba/datasets/transforms`: `Letterbox`, `CenteredRandomAffine`, `HSVGain`;
- `mmmamba/models/backbones/mamba_yolo.py`: the backbone, made of `blocks`;
- `neck`: `MambaYOLOPAFPN`, and `LevelBlocks`, which puts the blocks after any other neck;
- `head`: `YOLODFLHead`, which in training asks `assigner` which prior learns which box and `loss`
  how far off it is, and in prediction `box_selection` which boxes to keep; of a batch `batches`
  makes the tensors that all of them take;
- `detector`: `MambaYOLO`, the whole of it, which reads its authors' files.

`mmmamba/engine/hooks/yolo_warmup.py` warms up biases and momentum at the start of training, and
`configs/mamba_yolo` names all of it. Nothing is imported here: the backbone and the neck work
without mmdet, the other parts do not and come with `mmmamba.detection`.
"""
