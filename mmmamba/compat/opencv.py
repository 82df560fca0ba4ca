"""Says what to do where OpenCV does not import."""

import importlib

# The version that `requirements/tested.txt` holds, which goes with its NumPy.
HEADLESS_VERSION = "4.12.0.88"
CURE = f"pip install --force-reinstall --no-deps opencv-python-headless=={HEADLESS_VERSION}"


def check_opencv() -> None:
    """Import `cv2` and turn the loader's complaint into one that names the cure.

    mmcv requires `opencv-python`, imaug requires `opencv-python-headless` as well, and both
    unpack into `site-packages/cv2`. Where the first one won, the import needs libGL.so.1 and
    other libraries of a desktop.

    Raises:
        ImportError: `cv2` is missing, or its shared libraries are.
    """
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cv2":
            found = "OpenCV is not installed (no module named 'cv2')"
        else:
            found = f"OpenCV is installed but does not import: {error}"
        raise ImportError(
            f"{found}. mmcv needs OpenCV; the headless build needs no desktop libraries such as "
            "libGL.so.1. "
            f"Install it over the other one: {CURE}"
        ) from error
