"""What can be wrong with a data set, and how bad that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["stop", "fault", "note"]


@dataclass(frozen=True)
class Kind:
    """One sort of finding: what it is called, and what happens in training or what to do."""

    severity: Severity
    """`stop`: training fails or scores 0; `fault`: wrong, but it runs; `note`: may be meant so."""
    title: str
    advice: str


KINDS: dict[str, Kind] = {
    # Training cannot work.
    "not-coco": Kind(
        "stop", "not a COCO file", "wanted: lists of images, annotations, categories (id and name)"
    ),
    "classes-none": Kind(
        "stop", "the config has no classes", "write metainfo=dict(classes=('a', 'b'))"
    ),
    "classes-text": Kind(
        "stop",
        "classes is a text",
        "with one class the comma makes the tuple: classes=('nucleus',)",
    ),
    "classes-missing": Kind(
        "stop", "class of the config is not in the file", "mmdet would shift the labels after it"
    ),
    "classes-order": Kind(
        "stop",
        "classes stand in another order than in the file",
        "mmdet numbers labels in the file's order, so names would be exchanged",
    ),
    "classes-twice": Kind(
        "stop", "class name stands twice", "give each category a name of its own"
    ),
    "category-id-twice": Kind(
        "stop", "category id stands twice", "give each category an id of its own"
    ),
    "num-classes": Kind(
        "stop", "head with another number of classes", "set num_classes to the number of classes"
    ),
    "no-annotations": Kind("stop", "no annotation of the config's classes", "AP would be 0 or -1"),
    "no-images": Kind(
        "stop", "no image left", "look at ann_file, data_prefix, img_suffix and filter_cfg"
    ),
    "no-masks": Kind(
        "stop",
        "no annotation has a mask, but the config trains masks",
        "take a head for boxes (retinanet, rtmdet, yolox)",
    ),
    "images-elsewhere": Kind(
        "stop", "none of the images is where the config looks", "set data_prefix to their folder"
    ),
    "evaluator-file": Kind(
        "stop", "the evaluator scores against other images", "give it the data set's ann_file"
    ),
    "annotation-id-twice": Kind("stop", "annotation id stands twice", "mmdet refuses such a file"),
    "image-id-shared": Kind(
        "stop",
        "two images have one id",
        "all but the last vanish, with the annotations of all given to it",
    ),
    "image-id-text": Kind(
        "stop",
        "id of an image is a text in one place and a number in another",
        "its annotations vanish; write all ids in one way",
    ),
    "no-boxes": Kind(
        "stop", "no annotation has a box within its image", "nothing can be learnt or found"
    ),
    "label-missing": Kind(
        "stop", "image without label map", "the data loader fails when it comes to such an image"
    ),
    "partner-missing": Kind(
        "stop",
        "image without its second one",
        "the data loader fails when it comes to it: wanted in second_path of data_prefix",
    ),
    "partner-unnamed": Kind(
        "stop",
        "pairs are to be loaded, and nothing names second images",
        "make the data set a PairedSegDataset with second_path in data_prefix",
    ),
    "saliency-missing": Kind(
        "stop", "image without saliency map", "wanted: a map of its name; the data set is refused"
    ),
    "fixations-missing": Kind(
        "stop",
        "image without fixation map",
        "wanted: one of its name, or no fixation_map_path in data_prefix; the data set is refused",
    ),
    "class-folders": Kind(
        "stop", "no folders of classes", "wanted: a folder of images for each class"
    ),
    "class-folders-other": Kind(
        "stop",
        "other folders than classes of the config",
        "they go together by the order of their names: name a class for each folder",
    ),
    "class-list": Kind(
        "stop", "list of images that does not parse", "wanted: PATH LABEL in each line"
    ),
    "class-label": Kind(
        "stop", "label of no class", "the loss fails, on a GPU with a device-side assert"
    ),
    # Wrong, and training goes on, with less or other data than the file seems to hold.
    "image-record": Kind(
        "fault", "entry of an image lacks something", "wanted: id, file_name, width, height"
    ),
    "image-id-twice": Kind("fault", "image is listed twice", "the last entry is kept"),
    "image-name-twice": Kind(
        "fault", "the same file under two image ids", "objects are missing under the other id"
    ),
    "image-missing": Kind(
        "fault", "image is not there", "the data loader fails when it comes to it"
    ),
    "image-unreadable": Kind(
        "fault", "image cannot be read", "the data loader fails, or takes what it could decode"
    ),
    "image-size": Kind(
        "fault", "image of another size than the file says", "boxes are not where the objects are"
    ),
    "image-turned": Kind(
        "fault",
        "image is turned by its EXIF orientation",
        "training turns it, width and height in the file do not: store the pixels turned",
    ),
    "image-channels": Kind(
        "fault",
        "image read with other channels than the model takes",
        "the data loader or the first layer fails; see color_type of LoadImageFromFile",
    ),
    "partner-unreadable": Kind(
        "fault", "second image cannot be read", "the data loader fails when it comes to it"
    ),
    "partner-size": Kind(
        "fault",
        "second image of another size than the first",
        "the data loader fails: the two are to be aligned, pixel over pixel",
    ),
    "partner-channels": Kind(
        "fault",
        "second image of other channels than are read",
        "the data loader fails; second_color_type='grayscale' of LoadPairedImage takes any",
    ),
    "annotation-record": Kind(
        "fault", "annotation lacks something", "wanted: id, image_id, category_id, bbox, area"
    ),
    "annotation-orphan": Kind(
        "fault", "annotation of an image that is not in the file", "it is never used"
    ),
    "category-unknown": Kind("fault", "annotation of an unknown category", "it is never used"),
    "box-broken": Kind(
        "fault", "box is not four finite numbers", "NaN in the losses, or a failing data loader"
    ),
    "box-empty": Kind(
        "fault", "box or area of nothing", "training leaves out boxes under 1 pixel or of no area"
    ),
    "box-outside": Kind("fault", "box lies outside of the image", "training leaves it out"),
    "box-beyond": Kind(
        "fault", "box reaches beyond the image", "the part outside cannot be found; clip it"
    ),
    "mask-missing": Kind(
        "fault", "annotation without a mask", "the config trains masks: the data loader fails here"
    ),
    "polygon-broken": Kind(
        "fault", "broken polygon", "wanted: lists of x, y with three points or more; it is ignored"
    ),
    "rle-broken": Kind("fault", "broken RLE", "wanted: size and counts that fill it"),
    "rle-size": Kind("fault", "RLE of another size than its image", "wanted: size=[height, width]"),
    "label-unreadable": Kind(
        "fault", "label map cannot be read", "the data loader fails when it comes to it"
    ),
    "label-channels": Kind(
        "fault", "label map with colours", "wanted: one number a pixel (grey or palette PNG)"
    ),
    "label-size": Kind(
        "fault", "label map of another size than its image", "crops fail or do not fit"
    ),
    "label-range": Kind(
        "fault", "label out of range", "the loss fails, on a GPU with a device-side assert"
    ),
    "map-shape": Kind(
        "fault",
        "map of another shape than its image",
        "what is salient is not where it was: maps are stretched to their images",
    ),
    "saliency-empty": Kind(
        "fault", "saliency map of zeros", "nothing can be learnt from it; KL, CC, SIM leave it out"
    ),
    "fixations-many": Kind(
        "fault",
        "fixation map that is none of points",
        "a blurred map in its place, or a JPEG: wanted 0 but where somebody looked",
    ),
    "class-unlearnt": Kind(
        "fault", "class without images to train on", "it can never be predicted"
    ),
    "image-classes": Kind(
        "fault", "one image in several classes", "at most one of its labels is right"
    ),
    "image-classless": Kind(
        "fault", "image beside the folders of classes", "it has no class and is never used"
    ),
    "image-ending": Kind(
        "fault",
        "image whose ending the data set does not read",
        "it is never used: name the ending in extensions=(...)",
    ),
    # Wrong with label files that became COCO files (`datasets/formats`).
    "label-unparsed": Kind(
        "fault", "label file that does not parse", "its image is left out, or would be background"
    ),
    "label-class": Kind(
        "fault", "label of a class that has no name", "its image is left out: mend file or names"
    ),
    "label-outside": Kind(
        "fault", "label outside of its image", "its image is left out: mend the coordinates"
    ),
    "image-skipped": Kind(
        "fault", "image that cannot be read", "it is left out of the converted file"
    ),
    "labels-newer": Kind(
        "fault",
        "label file changed since it was converted",
        "`mmmamba new … --force` converts anew",
    ),
    "label-imageless": Kind(
        "fault", "label file without image", "it is never used: wanted an image of its name"
    ),
    "label-unlisted": Kind(
        "fault", "list of a split names what is not there", "the entry is left out"
    ),
    # Worth knowing.
    "classes-left": Kind(
        "note", "category that the config leaves out", "its objects are background to learn from"
    ),
    "class-empty": Kind("note", "class without annotations", "it has no AP or IoU here"),
    "image-empty": Kind(
        "note", "image without objects", "filter_empty_gt=True leaves them out of training"
    ),
    "image-small": Kind(
        "note", "image smaller than filter_cfg's min_size", "training leaves it out"
    ),
    "image-deep": Kind(
        "note",
        "image of more than 8 bits",
        "the upper 8 bits are read; color_type='unchanged' of LoadImageFromFile reads all",
    ),
    "partner-deep": Kind(
        "note",
        "second image of more than 8 bits",
        "the upper 8 bits are read; second_color_type='unchanged' of LoadPairedImage reads all",
    ),
    "image-alpha": Kind(
        "note",
        "image with an alpha channel",
        "it is left out, and what it hides is seen; color_type='unchanged' reads it",
    ),
    "class-unscored": Kind("note", "class without images", "it has no accuracy here"),
    "fixations-none": Kind("note", "image without fixations", "NSS and AUC leave it out"),
    "image-again": Kind("note", "one image several times", "it counts more than others"),
    "image-tiny": Kind(
        "note", "image under 16 pixels on a side", "enlarged, it shows next to nothing"
    ),
    "image-long": Kind(
        "note", "image over four times as long as wide", "crops show a small part of it"
    ),
    "image-both": Kind("note", "image is in training and in validation", "the score is too good"),
    "annotation-crowd": Kind("note", "crowd region", "neither object nor background"),
    "annotation-ignored": Kind("note", "annotation with ignore", "it is never used"),
    "annotation-id-0": Kind(
        "note", "annotation with id 0", "COCO's evaluation counts its detection as wrong"
    ),
    "label-orphan": Kind("note", "labels without image", "they are never used"),
    "image-unlabelled": Kind(
        "note", "image without label file", "YOLO: an image without objects; others: left out"
    ),
    "object-twice": Kind("note", "object that stands twice in its file", "it is taken once"),
    "box-clipped": Kind("note", "box beyond its image", "it was clipped to the image"),
    "shape-ignored": Kind("note", "shape that is marked as no object", "it is left out"),
    "shape-no-area": Kind(
        "note", "shape without area (point, line)", "it is no object to detect and left out"
    ),
}
