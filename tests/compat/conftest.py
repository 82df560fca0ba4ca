"""mmcv.ops is imported by the tests of this folder, so the operators must be in place before them."""

from mmmamba.compat import install

install()
