"""What a tile's labels say is what the image's say of that place."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmmamba.datasets.tiled.cutting import cut_instances
from mmmamba.errors import UsageError
from mmmamba.structures.tiles import Tile, image_tiles

HEIGHT, WIDTH = 90, 120


def decode(mask, height, width):
    """Pixels of polygons, or of run lengths in either form."""
    if isinstance(mask, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(mask, height, width)))
    plain = isinstance(mask["counts"], list)
    return coco_mask.decode(coco_mask.frPyObjects(mask, height, width) if plain else mask)


def uncompressed(mask_HW):
    """Run lengths as a list, as COCO's crowds have them."""
    flat = mask_HW.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return dict(size=list(mask_HW.shape), counts=counts)


DISC = (
    np.stack([np.cos(np.linspace(0, 6, 30)), np.sin(np.linspace(0, 6, 30))], 1) * 30 + 45
).ravel()
# Open to the right: a tile's side cuts it into two pieces.
FORK = [20, 20, 100, 20, 100, 35, 50, 35, 50, 55, 100, 55, 100, 70, 20, 70]
MASKS = {
    "disc": [DISC.tolist()],
    "fork": [FORK],
    "two pieces": [[10, 10, 30, 10, 30, 40, 10, 40], [70, 50, 110, 50, 110, 80]],
}


@pytest.mark.parametrize("form", ["polygons", "packed", "list"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_of_tiles_are_those_of_the_image(name, form):
    whole_HW = decode(MASKS[name], HEIGHT, WIDTH)
    rle = coco_mask.encode(np.asfortranarray(whole_HW))
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    forms = dict(polygons=MASKS[name], packed=rle, list=uncompressed(whole_HW))
    instance = dict(
        bbox=[x, y, x + width, y + height], bbox_label=2, ignore_flag=0, mask=forms[form]
    )
    tiles = image_tiles(HEIGHT, WIDTH, 48, 0.25)
    cut = cut_instances([instance], tiles, HEIGHT, WIDTH, 0.5)
    assert len(tiles) == len(cut) == 9
    for tile, found in zip(tiles, cut):
        part_HW = tile.of(whole_HW)
        if not found:
            # Polygons may touch a tile by less than a pixel.
            assert part_HW.any(0).sum() <= 1 or part_HW.any(1).sum() <= 1
            continue
        mask_HW = decode(found[0]["mask"], tile.height, tile.width)
        # Along cut sides lines are drawn anew: a pixel a line may differ.
        wrong = int((mask_HW != part_HW).sum())
        assert wrong <= (0 if form != "polygons" else 0.04 * max(part_HW.sum(), 100))
        rows, columns = np.flatnonzero(part_HW.any(1)), np.flatnonzero(part_HW.any(0))
        tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(np.array(found[0]["bbox"]) - tight).max() <= 1.01
        share = part_HW.sum() / whole_HW.sum()
        if abs(share - 0.5) > 0.03:
            assert found[0]["ignore_flag"] == int(share < 0.5)
        assert found[0]["bbox_label"] == 2


def test_boxes_are_cut_and_counted_by_their_area():
    tiles = [Tile(0, 0, 50, 90), Tile(40, 0, 80, 90)]
    boxes = [
        [10, 10, 30, 30],
        [30, 0, 60, 10],
        [45, 5, 55.5, 15],
        [-20, 0, 20, 10],
        [49.5, 0, 70, 9],
    ]
    instances = [dict(bbox=box, bbox_label=i, ignore_flag=0) for i, box in enumerate(boxes)]
    left, right = cut_instances(instances, tiles, HEIGHT, WIDTH, 0.6)
    told = [(one["bbox_label"], one["bbox"], one["ignore_flag"]) for one in left]
    # The fourth reaches beyond the image: its part within is all there is to see; of the last less
    # than a pixel is in the left tile.
    assert told == [
        (0, [10, 10, 30, 30], 0),
        (1, [30, 0, 50, 10], 0),
        (2, [45, 5, 50, 15], 1),
        (3, [0, 0, 20, 10], 0),
    ]
    told = [(one["bbox_label"], one["bbox"], one["ignore_flag"]) for one in right]
    assert told == [(1, [0, 0, 20, 10], 0), (2, [5, 5, 15.5, 15], 0), (4, [9.5, 0, 30, 9], 0)]
    assert instances[0]["bbox"] == boxes[0], "the image's own labels stay"


def test_crowds_stay_crowds_however_much_of_them_is_seen():
    whole_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
    whole_HW[10:80, 10:110] = 1
    crowd = dict(bbox=[10, 10, 110, 80], bbox_label=0, ignore_flag=1, mask=uncompressed(whole_HW))
    tiles = image_tiles(HEIGHT, WIDTH, 60, 0.2)
    cut = cut_instances([crowd], tiles, HEIGHT, WIDTH, 0.0)
    assert [found[0]["ignore_flag"] for found in cut] == [1] * len(tiles)
    for tile, found in zip(tiles, cut):
        assert (decode(found[0]["mask"], tile.height, tile.width) == tile.of(whole_HW)).all()


def test_turned_boxes_are_refused():
    turned = dict(bbox=[50, 50, 20, 10, 0.5], bbox_label=0, ignore_flag=0)
    with pytest.raises(UsageError, match="a box has 5 numbers"):
        cut_instances([turned], [Tile(0, 0, 50, 50)], HEIGHT, WIDTH, 0.5)
