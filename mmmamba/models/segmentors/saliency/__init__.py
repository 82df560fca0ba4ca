"""SUM (Hosseini et al., arXiv 2406.17815, WACV 2025): where people look, as a map.

One network for four kinds of images, told apart by a condition.
"""
