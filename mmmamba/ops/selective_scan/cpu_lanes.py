"""SIMD lanes for numba: `LANES` neighbouring channels as one value.

It has arithmetic, exp2 and softplus. Arrays of int16 are read as the bfloat16 numbers whose bits
they hold, into float32. LLVM splits such a value over the registers a machine has.
Numba alone leaves exp and log as one libm call per element, and its arrays may overlap, so that
loops over channels keep going through memory.
"""

import math
import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

# As many float32 as a register of AVX-512 holds.
LANES = 16
SOFTPLUS_IS_IDENTITY_ABOVE = 20.0
"""The threshold of torch.nn.functional.softplus."""

# 2^r = 1 + r (c[0] + c[1] r + ...) for |r| <= 1/2, and
# artanh(z) = z (1 + z^2 (c[0] + c[1] z^2 + ...)) for z <= 1/3.
# float32: least relative error (2e-9, 5e-9); float64: Taylor (4e-18, 2e-18).
_EXP2 = {
    32: (
        0.6931471824645996,
        0.24022647738456726,
        0.055503323674201965,
        0.00961843691766262,
        0.0013398875016719103,
        0.00015353360504377633,
    ),
    64: tuple(math.log(2) ** i / math.factorial(i) for i in range(1, 14)),
}
_ARTANH = {
    32: (0.3333320915699005, 0.2001076340675354, 0.1400090605020523, 0.14005979895591736),
    64: tuple(1 / (2 * i + 1) for i in range(1, 17)),
}
# Adding 1.5 * 2^mantissa rounds to an integer and leaves it in the lowest bits.
_MANTISSA = {32: 23, 64: 52}
_LARGEST_EXPONENT = {32: 128.0, 64: 1024.0}
# log(2) in two parts, the first short enough for exact products with small integers.
_LN2 = {
    32: (0.693359375, math.log(2) - 0.693359375),
    64: (0.6931471803691238, 1.9082149292705877e-10),
}
_FUSE = ("contract",)


class LanesType(types.Type):
    """`LANES` numbers of one float type."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")

    @property
    def ir_type(self) -> ir.VectorType:
        return ir.VectorType(
            ir.FloatType() if self.dtype.bitwidth == 32 else ir.DoubleType(), LANES
        )


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type) -> None:
        super().__init__(dmm, fe_type, fe_type.ir_type)


def _constant(of: ir.VectorType, number: float | int) -> ir.Constant:
    return ir.Constant(of, [ir.Constant(of.element, number)] * LANES)


def _splat(builder, number):
    wide = ir.VectorType(number.type, LANES)
    first = builder.insert_element(
        ir.Constant(wide, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(wide, ir.Undefined), zeros)


def _address(context, builder, array_type, array, at, wide):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), wide.as_pointer())


def _mask(builder, count):
    lane = ir.VectorType(ir.IntType(64), LANES)
    return builder.icmp_signed("<", ir.Constant(lane, list(range(LANES))), _splat(builder, count))


def _masked(builder, name, wide, result, arguments):
    pointer, mask = wide.as_pointer(), ir.VectorType(ir.IntType(1), LANES)
    kinds = {
        "load": (pointer, ir.IntType(32), mask, wide),
        "store": (wide, pointer, ir.IntType(32), mask),
    }[name]
    kind = {ir.FloatType(): "f32", ir.DoubleType(): "f64", ir.IntType(16): "i16"}[wide.element]
    # The p0 in the name is LLVM's for opaque pointers, which have no type to mention.
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, kinds), f"llvm.masked.{name}.v{LANES}{kind}.p0"
    )
    return builder.call(function, arguments)


def _lanes_of(array) -> LanesType:
    """What is read of an array."""
    return LanesType(types.float32 if array.dtype == types.int16 else array.dtype)


def _in_memory(array) -> ir.VectorType:
    if array.dtype == types.int16:
        return ir.VectorType(ir.IntType(16), LANES)
    return LanesType(array.dtype).ir_type


def _widened(builder, value):
    """float32 of bfloat16's bits, which are the upper half of its own."""
    if value.type.element != ir.IntType(16):
        return value
    wide = ir.VectorType(ir.IntType(32), LANES)
    bits = builder.shl(builder.zext(value, wide), _constant(wide, 16))
    return builder.bitcast(bits, ir.VectorType(ir.FloatType(), LANES))


@intrinsic
def load(typingctx, array, at):
    """The lanes array[at : at + LANES]."""
    lanes = _lanes_of(array)

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature.args[0], *args, _in_memory(array))
        # A row may begin at any element, so no more than that is promised.
        return _widened(builder, builder.load(pointer, align=array.dtype.bitwidth // 8))

    return lanes(array, types.intp), codegen


@intrinsic
def load_part(typingctx, array, at, count):
    """The lanes array[at : at + count], zeros behind."""
    lanes = _lanes_of(array)

    def codegen(context, builder, signature, args):
        wide = _in_memory(array)
        pointer = _address(context, builder, signature.args[0], args[0], args[1], wide)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        nothing = _constant(wide, 0 if array.dtype == types.int16 else 0.0)
        arguments = [pointer, align, _mask(builder, args[2]), nothing]
        return _widened(builder, _masked(builder, "load", wide, wide, arguments))

    return lanes(array, types.intp, types.intp), codegen


@intrinsic
def store(typingctx, array, at, value):
    """Writes the value to array[at : at + LANES]."""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature.args[0], args[0], args[1], value.ir_type)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_part(typingctx, array, at, value, count):
    """Writes the first lanes of the value to array[at : at + count]."""

    def codegen(context, builder, signature, args):
        pointer = _address(context, builder, signature.args[0], args[0], args[1], value.ir_type)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        _masked(
            builder,
            "store",
            value.ir_type,
            ir.VoidType(),
            [args[2], pointer, align, _mask(builder, args[3])],
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic
def splat(typingctx, number):
    """All lanes the same number."""

    def codegen(context, builder, signature, args):
        return _splat(builder, args[0])

    return LanesType(number)(number), codegen


@intrinsic
def broadcast(typingctx, array, at):
    """All lanes array[at], for which no negative position is looked out for."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return _splat(builder, builder.load(builder.gep(data, [args[1]])))

    return LanesType(array.dtype)(array, types.intp), codegen


@intrinsic
def lane_sum(typingctx, value):
    """The sum of the lanes, by halves."""

    def codegen(context, builder, signature, args):
        total, width = args[0], LANES
        while width > 1:
            width //= 2
            lanes = ir.VectorType(ir.IntType(32), width)
            undefined = ir.Constant(total.type, ir.Undefined)
            low = ir.Constant(lanes, list(range(width)))
            high = ir.Constant(lanes, list(range(width, 2 * width)))
            total = builder.fadd(
                builder.shuffle_vector(total, undefined, low),
                builder.shuffle_vector(total, undefined, high),
            )
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return value.dtype(value), codegen


def _arithmetic(name):
    @intrinsic
    def combine(typingctx, left, right):
        def codegen(context, builder, signature, args):
            return getattr(builder, name)(*args, flags=_FUSE)

        return left(left, right), codegen

    return combine


def _overload(symbol, name):
    combine = _arithmetic(name)

    @overload(symbol)
    def _(left, right):
        if isinstance(left, LanesType) and left == right:
            return lambda left, right: combine(left, right)
        return None


_overload(operator.add, "fadd")
_overload(operator.sub, "fsub")
_overload(operator.mul, "fmul")


def _polynomial(builder, x, coefficients):
    total = _constant(x.type, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = builder.fadd(
            builder.fmul(total, x, flags=_FUSE), _constant(x.type, coefficient), flags=_FUSE
        )
    return total


def _power(builder, shifted, rest, bits):
    """2^(n + rest), n the integer in the lowest bits of `shifted`."""
    wide, integers = rest.type, ir.VectorType(ir.IntType(bits), LANES)
    power = builder.fadd(
        builder.fmul(_polynomial(builder, rest, _EXP2[bits]), rest, flags=_FUSE),
        _constant(wide, 1.0),
        flags=_FUSE,
    )
    # Shifted by the mantissa's length, `shifted` is n in the exponent's place and nothing else:
    # adding that to a float's bits multiplies it by 2^n.
    exponent = builder.shl(builder.bitcast(shifted, integers), _constant(integers, _MANTISSA[bits]))
    return builder.bitcast(builder.add(builder.bitcast(power, integers), exponent), wide)


@intrinsic
def exp2(typingctx, value):
    """2 to the power of each lane; relative error 1e-7 in float32.

    It is 0 up to -127 (-1023) and infinite from 128 (1024).
    """

    def codegen(context, builder, signature, args):
        x, bits = args[0], value.dtype.bitwidth
        top, magic = _LARGEST_EXPONENT[bits], _constant(x.type, 1.5 * 2 ** _MANTISSA[bits])
        # Ordered comparisons are false for NaN, which therefore stays.
        lowest, highest = _constant(x.type, 1 - top), _constant(x.type, top)
        x = builder.select(builder.fcmp_ordered("<", x, lowest), lowest, x)
        x = builder.select(builder.fcmp_ordered(">", x, highest), highest, x)
        shifted = builder.fadd(x, magic)
        return _power(builder, shifted, builder.fsub(x, builder.fsub(shifted, magic)), bits)

    return value(value), codegen


def _tail(builder, x, bits):
    """exp(-|x|), and 0 where softplus is the identity."""
    wide = x.type
    zero, magic = _constant(wide, 0.0), _constant(wide, 1.5 * 2 ** _MANTISSA[bits])
    size = builder.select(builder.fcmp_ordered("<", x, zero), x, builder.fneg(x))
    shifted = builder.fadd(builder.fmul(size, _constant(wide, 1 / math.log(2))), magic)
    # exp(size) = 2^whole exp(rest): log(2) is taken off in two parts, as the rest of a large size
    # would be nothing but rounding otherwise.
    whole, rest = builder.fsub(shifted, magic), size
    for part in _LN2[bits]:
        rest = builder.fsub(
            rest, builder.fmul(whole, _constant(wide, part), flags=_FUSE), flags=_FUSE
        )
    tail = _power(builder, shifted, builder.fmul(rest, _constant(wide, 1 / math.log(2))), bits)
    # Below the smallest normal number `_power` has no exponent left to write.
    smallest = _constant(wide, (2 - _LARGEST_EXPONENT[bits]) * math.log(2))
    identity = _constant(wide, SOFTPLUS_IS_IDENTITY_ABOVE)
    vanished = builder.fcmp_ordered("<", size, smallest)
    gone = builder.or_(vanished, builder.fcmp_ordered(">", x, identity))
    return builder.select(gone, zero, tail)


@intrinsic
def softplus(typingctx, value):
    """log(1 + exp(x)) = max(x, 0) + 2 artanh(e / (2 + e)) with e = exp(-|x|).

    The relative error is 2e-7 in float32: artanh near zero does not round away what log(1 + e)
    would.
    """

    def codegen(context, builder, signature, args):
        x, bits = args[0], value.dtype.bitwidth
        tail = _tail(builder, x, bits)
        z = builder.fdiv(tail, builder.fadd(tail, _constant(x.type, 2.0)))
        square = builder.fmul(z, z)
        series = builder.fmul(square, _polynomial(builder, square, _ARTANH[bits]))
        half = builder.fadd(builder.fmul(z, series, flags=_FUSE), z, flags=_FUSE)
        zero = _constant(x.type, 0.0)
        rectified = builder.select(builder.fcmp_ordered("<", x, zero), zero, x)
        return builder.fadd(builder.fadd(half, half), rectified)

    return value(value), codegen


@intrinsic
def sigmoid(typingctx, value):
    """1 / (1 + exp(-x)), the derivative of softplus: 1 where that is the identity."""

    def codegen(context, builder, signature, args):
        x = args[0]
        one, tail = _constant(x.type, 1.0), _tail(builder, x, value.dtype.bitwidth)
        above = builder.select(builder.fcmp_ordered("<", x, _constant(x.type, 0.0)), tail, one)
        return builder.fdiv(above, builder.fadd(one, tail))

    return value(value), codegen
