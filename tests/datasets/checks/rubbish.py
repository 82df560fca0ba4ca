"""What may stand in an annotation file instead of what should."""

from hypothesis import strategies as st

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=7),
    st.lists(st.lists(st.floats(), max_size=7), max_size=2),
    st.dictionaries(st.sampled_from(["size", "counts"]), st.text() | st.lists(st.integers())),
)
KEYS = st.sampled_from(
    [
        "id",
        "image_id",
        "category_id",
        "bbox",
        "area",
        "segmentation",
        "iscrowd",
        "width",
        "height",
        "file_name",
    ]
)
