# mypy: disable-error-code="assignment"
"""What the kernels of `fuse_states` compute: a program takes a square of positions, some channels.

Shape suffixes: P positions and D channels of a tile; J dilations, which come as one number, a byte
each.
"""

import triton
import triton.language as tl

SIZES = ["height", "width", "down", "across", "vectors"]
"""Arguments that no kernel is specialised on."""


@triton.jit
def _channels(C, DB: tl.constexpr):
    """The channels of this program and the number of its tile.

    Neighbouring programs take neighbouring channels, whose memory lies side by side.
    """
    blocks = tl.cdiv(C, DB)
    block = tl.program_id(0) % blocks
    return block, block * DB + tl.arange(0, DB), tl.program_id(0) // blocks


@triton.jit
def _positions(tile, down, across, SIDE: tl.constexpr):
    """Image, rows and columns of a tile."""
    p = tl.arange(0, SIDE * SIDE)
    r = (tile // across % down) * SIDE + p // SIDE
    c = (tile % across) * SIDE + p % SIDE
    return (tile // (across * down)).to(tl.int64), r, c


@triton.jit
def _at(position, d, vectors, VECTOR: tl.constexpr):
    """Offsets `[P, DB]` within an image, of which the caller has seen to that they fit 32 bits."""
    return (position * vectors)[:, None] * VECTOR + d[None, :]


@triton.jit
def _moved(place, by, end):
    """Rows or columns further on, those beyond the map at its border."""
    return tl.minimum(tl.maximum(place + by, 0), end - 1)


@triton.jit
def _fused(
    h,
    kernels,
    r,
    c,
    d,
    on_PD,
    height,
    width,
    vectors,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
):
    """The neighbours' states of an image, weighted and summed, `[P, DB]`."""
    C = vectors * VECTOR
    here_D = tl.zeros_like(d).to(tl.float32)
    h_PD = tl.load(h + _at(r * width + c, d, vectors, VECTOR), mask=on_PD, other=0.0)
    sum_PD = tl.zeros_like(h_PD).to(tl.float32)
    # A loop, not unrolled: all loads at once would want more registers than there are.
    for j in range(J):
        s = (DILATIONS >> (8 * j)) & 255
        for i in tl.static_range(9):
            tap_D = tl.load(kernels + (j * 9 + i) * C + d, mask=d < C, other=0.0)
            # The middles of all dilations meet in one cell.
            if i == 4:
                here_D += tap_D.to(tl.float32)
            else:
                row, column = _moved(r, (i // 3 - 1) * s, height), _moved(c, (i % 3 - 1) * s, width)
                place_PD = _at(row * width + column, d, vectors, VECTOR)
                x_PD = tl.load(h + place_PD, mask=on_PD, other=0.0).to(tl.float32)
                sum_PD += x_PD * tap_D.to(tl.float32)[None, :]
    return sum_PD + h_PD.to(tl.float32) * here_D[None, :]


@triton.jit(do_not_specialize=SIZES)
def fuse_kernel(
    h,
    kernels,
    read,
    u,
    skip,
    y,
    height,
    width,
    down,
    across,
    vectors,
    HAS_SKIP: tl.constexpr,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIDE: tl.constexpr,
    DB: tl.constexpr,
):
    """What is read of the fused states, and what passes by them."""
    C = vectors * VECTOR
    _, d, tile = _channels(C, DB)
    b, r, c = _positions(tile, down, across, SIDE)
    in_P = (r < height) & (c < width)
    on_PD = in_P[:, None] & (d < C)[None, :]
    cells = b * height * width
    sum_PD = _fused(
        h + cells * C, kernels, r, c, d, on_PD, height, width, vectors, J, DILATIONS, VECTOR
    )
    read_P = tl.load(read + cells + r * width + c, mask=in_P, other=0.0).to(tl.float32)
    y_PD = read_P[:, None] * sum_PD
    place_PD = _at(r * width + c, d, vectors, VECTOR)
    if HAS_SKIP:
        skip_D = tl.load(skip + d, mask=d < C, other=0.0).to(tl.float32)
        u_PD = tl.load(u + cells * C + place_PD, mask=on_PD, other=0.0).to(tl.float32)
        y_PD += skip_D[None, :] * u_PD
    tl.store(y + cells * C + place_PD, y_PD.to(y.dtype.element_ty), mask=on_PD)


@triton.jit(do_not_specialize=SIZES)
def spread_kernel(
    grad,
    h,
    kernels,
    read,
    u,
    skip,
    wide,
    read_parts,
    du,
    skip_parts,
    height,
    width,
    down,
    across,
    vectors,
    HAS_SKIP: tl.constexpr,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIDE: tl.constexpr,
    DB: tl.constexpr,
):
    """The gradients of the fused states and of u; shares of those of C and of the skip weights."""
    C = vectors * VECTOR
    block, d, tile = _channels(C, DB)
    b, r, c = _positions(tile, down, across, SIDE)
    in_P = (r < height) & (c < width)
    on_PD = in_P[:, None] & (d < C)[None, :]
    cells = b * height * width
    sum_PD = _fused(
        h + cells * C, kernels, r, c, d, on_PD, height, width, vectors, J, DILATIONS, VECTOR
    )
    place_PD = _at(r * width + c, d, vectors, VECTOR)
    g_PD = tl.load(grad + cells * C + place_PD, mask=on_PD, other=0.0).to(tl.float32)
    # A row of shares for each block of channels.
    images = tl.num_programs(0) // (tl.cdiv(C, DB) * down * across)
    part_P = read_parts + (block.to(tl.int64) * images + b) * height * width + r * width + c
    tl.store(part_P, tl.sum(g_PD * sum_PD, 1), mask=in_P)
    read_P = tl.load(read + cells + r * width + c, mask=in_P, other=0.0).to(tl.float32)
    wide += b * (height + 2 * J) * (width + 2 * J) * C
    wide_PD = _at(r * (width + 2 * J) + c, d, vectors, VECTOR)
    tl.store(wide + wide_PD, (read_P[:, None] * g_PD).to(wide.dtype.element_ty), mask=on_PD)
    if HAS_SKIP:
        skip_D = tl.load(skip + d, mask=d < C, other=0.0).to(tl.float32)
        u_PD = tl.load(u + cells * C + place_PD, mask=on_PD, other=0.0).to(tl.float32)
        du_PD = (skip_D[None, :] * g_PD).to(du.dtype.element_ty)
        tl.store(du + cells * C + place_PD, du_PD, mask=on_PD)
        tl.store(skip_parts + tile.to(tl.int64) * C + d, tl.sum(g_PD * u_PD, 0), mask=d < C)


@triton.jit
def _span(place, end, J: tl.constexpr, DILATIONS: tl.constexpr):
    """The first of the rows or columns that a place sums, and their number.

    Of the map itself a place is its own; behind it each stands for a part of a border.
    """
    k = place - end
    first, count = place, tl.zeros_like(place) + 1
    for j in tl.static_range(J):
        s = (DILATIONS >> (8 * j)) & 255
        most = tl.minimum(s + 1, end)
        count = tl.where((k == j) | (k == J + j), most, count)
        first = tl.where(k == j, 0, tl.where(k == J + j, end - most, first))
    return first, count


@triton.jit(do_not_specialize=["height", "width", "strips", "vectors"])
def margins_kernel(
    wide,
    height,
    width,
    strips,
    vectors,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIDE: tl.constexpr,
    DB: tl.constexpr,
):
    """The margins: sums of the rows and columns along each border."""
    C = vectors * VECTOR
    _, d, strip = _channels(C, DB)
    whole = width + 2 * J
    wide += (strip // strips).to(tl.int64) * (height + 2 * J) * whole * C
    n = (strip % strips) * (SIDE * SIDE) + tl.arange(0, SIDE * SIDE)
    # First the rows behind the map with their corners, then the columns beside it.
    below = n < 2 * J * whole
    beside = n - 2 * J * whole
    r = tl.where(below, height + n // whole, beside // (2 * J))
    c = tl.where(below, n % whole, width + beside % (2 * J))
    in_P = r < tl.where(below, height + 2 * J, height)
    first_row, rows = _span(r, height, J, DILATIONS)
    first_column, columns = _span(c, width, J, DILATIONS)
    sum_PD = tl.zeros([SIDE * SIDE, DB], tl.float32)
    for i in range(0, tl.max(tl.where(in_P, rows, 0), 0)):
        for k in range(0, tl.max(tl.where(in_P, columns, 0), 0)):
            there = in_P & (i < rows) & (k < columns)
            place_PD = _at((first_row + i) * whole + first_column + k, d, vectors, VECTOR)
            on_PD = there[:, None] & (d < C)[None, :]
            sum_PD += tl.load(wide + place_PD, mask=on_PD, other=0.0).to(tl.float32)
    place_PD = _at(r * whole + c, d, vectors, VECTOR)
    on_PD = in_P[:, None] & (d < C)[None, :]
    tl.store(wide + place_PD, sum_PD.to(wide.dtype.element_ty), mask=on_PD)


@triton.jit
def _takers(place, i: tl.constexpr, s, end, j, J: tl.constexpr):
    """Where those stand that read a row or column by tap `i` of dilation `s`; whether there are.

    All that reach beyond a border read its row: their sum stands in the margin.
    """
    if i == 0:
        return tl.where(place == 0, end + j, place + s), (place == 0) | (place + s < end)
    if i == 2:
        last = place == end - 1
        return tl.where(last, end + J + j, place - s), last | (place >= s)
    return place, place < end


@triton.jit(do_not_specialize=SIZES)
def fold_kernel(
    wide,
    kernels,
    dh,
    height,
    width,
    down,
    across,
    vectors,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIDE: tl.constexpr,
    DB: tl.constexpr,
):
    """The states' gradient: what all took that read a state."""
    C = vectors * VECTOR
    _, d, tile = _channels(C, DB)
    b, r, c = _positions(tile, down, across, SIDE)
    whole = width + 2 * J
    wide += b * (height + 2 * J) * whole * C
    on_PD = ((r < height) & (c < width))[:, None] & (d < C)[None, :]
    here_D = tl.zeros([DB], tl.float32)
    sum_PD = tl.zeros([SIDE * SIDE, DB], tl.float32)
    for j in range(J):
        s = (DILATIONS >> (8 * j)) & 255
        for i in tl.static_range(9):
            tap_D = tl.load(kernels + (j * 9 + i) * C + d, mask=d < C, other=0.0).to(tl.float32)
            if i == 4:
                here_D += tap_D
            else:
                row, has_row = _takers(r, i // 3, s, height, j, J)
                column, has_column = _takers(c, i % 3, s, width, j, J)
                place_PD = _at(row * whole + column, d, vectors, VECTOR)
                there_PD = on_PD & (has_row & has_column)[:, None]
                g_PD = tl.load(wide + place_PD, mask=there_PD, other=0.0).to(tl.float32)
                sum_PD += g_PD * tap_D[None, :]
    g_PD = tl.load(wide + _at(r * whole + c, d, vectors, VECTOR), mask=on_PD, other=0.0)
    sum_PD += g_PD.to(tl.float32) * here_D[None, :]
    place_PD = _at(r * width + c, d, vectors, VECTOR)
    tl.store(dh + b * height * width * C + place_PD, sum_PD.to(dh.dtype.element_ty), mask=on_PD)


@triton.jit(do_not_specialize=[*SIZES, "each", "tiles"])
def kernels_kernel(
    wide,
    h,
    parts,
    height,
    width,
    down,
    across,
    each,
    tiles,
    vectors,
    J: tl.constexpr,
    DILATIONS: tl.constexpr,
    VECTOR: tl.constexpr,
    SIDE: tl.constexpr,
    DB: tl.constexpr,
):
    """A program's share of the kernels' gradient.

    It walks its few tiles, which the cache holds, once for each row of taps: registers do not hold
    the sums of all of them.
    """
    C = vectors * VECTOR
    _, d, share = _channels(C, DB)
    whole = width + 2 * J
    part_D = parts + share.to(tl.int64) * J * 9 * C + d
    for j in range(J):
        s = (DILATIONS >> (8 * j)) & 255
        for i in tl.static_range(3):
            left_PD = tl.zeros([SIDE * SIDE, DB], tl.float32)
            middle_PD = tl.zeros([SIDE * SIDE, DB], tl.float32)
            right_PD = tl.zeros([SIDE * SIDE, DB], tl.float32)
            for tile in range(share * each, tl.minimum(share * each + each, tiles)):
                b, r, c = _positions(tile, down, across, SIDE)
                on_PD = ((r < height) & (c < width))[:, None] & (d < C)[None, :]
                wide_PD = wide + b * (height + 2 * J) * whole * C
                g_PD = tl.load(
                    wide_PD + _at(r * whole + c, d, vectors, VECTOR), mask=on_PD, other=0.0
                ).to(tl.float32)
                row = _moved(r, (i - 1) * s, height) * width
                h_PD = h + b * height * width * C
                at_PD = h_PD + _at(row + _moved(c, -s, width), d, vectors, VECTOR)
                left_PD += g_PD * tl.load(at_PD, mask=on_PD, other=0.0).to(tl.float32)
                at_PD = h_PD + _at(row + c, d, vectors, VECTOR)
                middle_PD += g_PD * tl.load(at_PD, mask=on_PD, other=0.0).to(tl.float32)
                at_PD = h_PD + _at(row + _moved(c, s, width), d, vectors, VECTOR)
                right_PD += g_PD * tl.load(at_PD, mask=on_PD, other=0.0).to(tl.float32)
            at_D = part_D + (j * 9 + i * 3) * C
            tl.store(at_D, tl.sum(left_PD, 0), mask=d < C)
            tl.store(at_D + C, tl.sum(middle_PD, 0), mask=d < C)
            tl.store(at_D + 2 * C, tl.sum(right_PD, 0), mask=d < C)
