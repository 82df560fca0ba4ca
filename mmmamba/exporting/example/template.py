"""Runs an exported model on an image; 0.3 is the least score that is shown of a detector.

    pip install numpy pillow onnxruntime
    python EXAMPLE MODEL image.jpg 0.3  # when single
    python EXAMPLE MODEL image.png second.png  # when pair

How images are prepared and what the outputs mean stands in the metadata of the file.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def sample(image, places, axis, unit=2**20):
    """Linear between the pixels along an axis, in whole units; beyond its ends the last one."""
    places = places.clip(0, image.shape[axis] - 1)
    low = places.astype(int)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    share = np.expand_dims(np.rint((places - low) * 2048), tuple(range(1, image.ndim - axis)))
    parts = image.take(low, axis) * (2048 - share), image.take(high, axis) * share
    return sum(np.floor(part * unit / 2048) / unit for part in parts)


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
said = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
p, outputs = said["inputs"], said["outputs"]
# Turned as the camera says.
picture = ImageOps.exif_transpose(Image.open(sys.argv[2]))
image = np.array(picture.convert("RGB"), float)  # when colour
image = image[..., ::-1]  # when bgr
image = np.array(picture.convert("L"), float)[..., None]  # when grey
# Behind the colours lies the second image of the same place.  # when pair
second = ImageOps.exif_transpose(Image.open(sys.argv[3])).convert("L")  # when pair grayscale
second = ImageOps.exif_transpose(Image.open(sys.argv[3])).convert("RGB")  # when pair color
second = Image.open(sys.argv[3])  # when pair unchanged
assert second.size == picture.size, "the two images are of different sizes"  # when pair
second = np.array(second, float).reshape(*image.shape[:2], -1)  # when pair
second = np.repeat(second, p["second_channels"] // second.shape[2], axis=2)  # when pair
image = np.concatenate([image, second], axis=2)  # when pair

# Resized. Of all sizes the height comes first, but for `scale`, which is the config's.
old, limit = np.array(image.shape[:2]), np.array(p["size"] or [np.inf, np.inf])
factor = min(max(p["scale"]) / max(old), min(p["scale"]) / min(old), *limit / old)  # when scaled
factor = min(1, *limit / old)  # when none
new = np.floor(old * factor + 0.5).astype(int).clip(1)  # when nearest
new = np.minimum(np.ceil(old * factor), p["size"] or max(p["scale"])).astype(int)  # when letterbox
new = np.array(p["size"] or p["scale"][::-1])  # when stretch
new = (min(p["scale"]) * old / min(old)).astype(int)  # when short_edge
# In fractions of OpenCV, with which the network was trained: 1/2048 across, 1/4 down.  # when cv2
for axis, unit in ((1, 2**20), (0, 4)):  # when cv2
    places = (np.arange(new[axis]) + 0.5) * image.shape[axis] / new[axis] - 0.5  # when cv2
    image = sample(image, places, axis, unit)  # when cv2
kind = Image.Resampling.BILINEAR  # when pillow bilinear
kind = Image.Resampling.BICUBIC  # when pillow bicubic
small = Image.fromarray(np.squeeze(image.astype(np.uint8))).resize(new[::-1], kind)  # when pillow
image = np.array(small, float).reshape(*new, -1)  # when pillow
top, left = np.rint((new - p["crop"]) / 2).astype(int).clip(0)  # when crop
image = image[top : top + p["crop"][0], left : left + p["crop"][1]]  # when crop
new = np.array(image.shape[:2])  # when crop
image = np.floor(image + 0.5)  # when twice
new = np.minimum(-(-new // p["multiple"]) * p["multiple"], limit).astype(int)  # when twice
for axis, unit in ((1, 2**20), (0, 4)):  # when twice
    places = (np.arange(new[axis]) + 0.5) * image.shape[axis] / new[axis] - 0.5  # when twice
    image = sample(image, places, axis, unit)  # when twice

# Rounded, padded and normalised.
outer = np.array(p["size"])  # when fixed
outer = np.array(p["pad_to"])  # when pad_to
outer = -(-(new + p["pad_extra"]) // p["size_divisor"]) * p["size_divisor"]  # when divided
top, left = (outer - new) // 2  # when centre
padded = np.full((*outer, p["channels"]), p["pad_value"], float)
padded[: new[0], : new[1]] = np.floor(image + 0.5)  # when corner
padded[top : top + new[0], left : left + new[1]] = np.floor(image + 0.5)  # when centre
normal = ((padded - p["mean"]) / p["std"]).transpose(2, 0, 1).astype(np.float32)
inputs = {"images": normal, "image_sizes": outer if p["sizes_with_padding"] else new}
inputs = {k.name: np.stack([inputs[k.name]] * (p["batch"] or 1)) for k in session.get_inputs()}
found = session.run(outputs, inputs)

# All boxes that there are, each with its best class; suppression is left to you.  # when raw
found = [found[0], found[1].max(-1), found[1].argmax(-1)]  # when raw
least = float(sys.argv[3]) if sys.argv[3:] else 0.3  # when detection
for box, score, label, *masks in zip(*(one[0] for one in found)):  # when detection
    if score >= least:  # when detection
        # In pixels of the image: left, top, right, bottom.  # when detection
        box = box - [left, top, left, top]  # when centre detection
        box = (box.reshape(2, 2) / (new / old)[::-1]).flatten()  # when detection
        box = box.clip(0, [*old[::-1], *old[::-1]])  # when clipped
        # A pixel is the object's from a share on; around the mask there is nothing.  # when masks
        mask = np.pad(masks[0], 1)  # when masks
        for axis, low, high in ((0, box[1], box[3]), (1, box[0], box[2])):  # when masks
            places = (np.arange(old[axis]) + 0.5 - low) / (high - low)  # when masks
            mask = sample(mask, places * (mask.shape[axis] - 2) + 0.5, axis)  # when masks
        masks = [(mask >= said["mask_threshold"]).sum()]  # when masks
        print(said["classes"][label], f"{score:.3f}", *box.round(1), *masks)  # when detection

# How much of the image each class has, without the padding.  # when segmentation
labels = found[0][0]  # when labels
labels = found[0][0].argmax(0)  # when logits
labels = labels[: new[0], : new[1]]  # when segmentation
for label, count in zip(*np.unique(labels, return_counts=True)):  # when segmentation
    print(said["classes"][label], f"{count / labels.size:.1%}")  # when segmentation

# How salient each pixel is, at the size of the image.  # when saliency
salient = found[0][0]  # when saliency
salient = 1 / (1 + np.exp(-salient))  # when sigmoid
for axis in (0, 1):  # when saliency
    places = (np.arange(old[axis]) + 0.5) * salient.shape[axis] / old[axis] - 0.5  # when saliency
    salient = sample(salient, places, axis)  # when saliency
y, x = np.unravel_index(salient.argmax(), salient.shape)  # when saliency
print(f"most salient at x {x}, y {y}: {salient[y, x]:.3f}")  # when saliency

# The surest classes.  # when classification
scores = found[0][0]  # when classification
scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()  # when softmax
for label in np.argsort(-scores)[:5]:  # when classification
    print(said["classes"][label], f"{scores[label]:.3f}")  # when classification

for name, one in zip(outputs, found):  # when backbone
    print(name, one.shape)  # when backbone
