"""What configs of segmentors that were published whole need beside the backbones.

They begin with `custom_imports = dict(imports=["mmmamba.segmentation"])`.

Apart from `mmmamba`, because it imports mmseg as a whole, which takes seconds.
"""
