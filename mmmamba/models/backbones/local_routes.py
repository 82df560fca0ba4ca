"""LocalMamba's searched routes (arXiv 2403.09338, section 4.2): four for each block, as data.

The order inside a row matters: it numbers the weights of the block.
"""

H, V, W2, W7 = "row", "column", "window2", "window7"
H_, V_, W2_, W7_ = (f"{name}_reversed" for name in (H, V, W2, W7))

BlockRoutes = tuple[tuple[str, ...], ...]

LOCALVMAMBA_T: BlockRoutes = (
    (H, H_, W7, W7_),
    (H_, V_, W2, W2_),
    (H_, V_, W2_, W7),
    (H_, V, V_, W2),
    (H, H_, V_, W2_),
    (H_, V_, W2, W2_),
    (H, W2_, W7, W7_),
    (H, H_, V, V_),
    (H, V_, W7, W7_),
    (H_, V, W2, W7_),
    (V, V_, W2, W7_),
    (H, H_, V_, W2_),
    (V_, W2_, W7, W7_),
    (H_, V_, W2_, W7_),
    (H_, V, W7, W7_),
)

LOCALVMAMBA_S: BlockRoutes = (
    (H, V, V_, W7_),
    (H, H_, V, W7),
    (H_, V, V_, W7),
    (H_, V, W2_, W7),
    (H_, V, W2_, W7),
    (H_, V_, W2, W7_),
    (H_, V, V_, W7),
    (H, V, V_, W7),
    (H, V, V_, W7),
    (H, V, V_, W7_),
    (H, H_, V, V_),
    (H, V, V_, W2),
    (V, V_, W2_, W7),
    (H, H_, V, W2),
    (H_, V, V_, W7_),
    (H, H_, V, V_),
    (H, V, V_, W7_),
    (H, V, V_, W7_),
    (H, H_, V_, W7),
    (H_, V_, W2_, W7),
    (H_, V, V_, W7_),
    (V, V_, W7, W7_),
    (H, V, V_, W7_),
    (H_, V, V_, W2),
    (H, V, V_, W2_),
    (H, H_, V, W7),
    (H, H_, W7, W7_),
    (H, V_, W2, W2_),
    (H, V_, W2, W7),
    (H, V, V_, W7_),
    (H_, V, W2_, W7),
    (H_, V_, W7, W7_),
    (H, V, W7, W7_),
)

# One table for all sizes: the search was made once, in a narrow network.
LOCALVIM: BlockRoutes = (
    (H, V_, W7, W7_),
    (H_, W2_, W7, W7_),
    (H, H_, V, W7),
    (H, H_, V, V_),
    (H, H_, V, V_),
    (H, H_, V, V_),
    (H_, V, V_, W7),
    (H_, V, V_, W2_),
    (H, H_, V, V_),
    (H, H_, V, V_),
    (H, V, V_, W2),
    (H, V, V_, W2_),
    (H, H_, V_, W7),
    (H_, V, V_, W2),
    (H, H_, V, V_),
    (H, V, W2, W2_),
    (V, V_, W2, W7),
    (H, H_, V, W2),
    (H, H_, W2_, W7),
    (V, V_, W2, W2_),
)

LOCALVIM_WITHOUT_SEARCH: BlockRoutes = ((H, H_, W2, W2_),) * 20
