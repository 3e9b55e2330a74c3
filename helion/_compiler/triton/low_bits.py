"""Unpacking that emitted kernels call: narrow floats by bit arithmetic, on any GPU."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def e2m1_low(packed: tl.tensor) -> tl.tensor:
    """Return the float16 number in the low four bits of each byte."""
    code = packed.to(tl.uint8, bitcast=True).to(tl.uint16)
    # Sign, exponent and mantissa move to where float16 has them; 2**14 is the
    # difference of the biases, also for the one subnormal number.
    bits = ((code & 8) << 12) | ((code & 7) << 9)
    return bits.to(tl.float16, bitcast=True) * 16384.0


@triton.jit
def e2m1_high(packed: tl.tensor) -> tl.tensor:
    """Return the float16 number in the high four bits of each byte."""
    code = packed.to(tl.uint8, bitcast=True).to(tl.uint16)
    bits = ((code & 128) << 8) | ((code & 112) << 5)
    return bits.to(tl.float16, bitcast=True) * 16384.0
