"""Casts, bit casts, changes in place, factories and masks."""

from __future__ import annotations

import torch

from test.op_coverage.case import (
    EVERY,
    F32,
    FLOATS,
    FP8,
    INTEGERS,
    NUMERIC,
    SIGNED,
    ZERO_SIGN,
    Case,
)
from test.op_coverage.pointwise_cases import cases

FLOAT_NAMES = "float32 float64 float16 bfloat16".split()
INTEGER_NAMES = "int8 int16 int32 int64 uint8".split()
MORE_NAMES = "uint16 uint32 uint64".split()
FP8_NAMES = "float8_e4m3fn float8_e5m2".split()


def casts() -> list[Case]:
    """``to`` of all pairs of dtypes; integers of floats take values that fit."""
    family = "casts"
    found: list[Case] = []
    for name in (*FLOAT_NAMES, "bool"):
        found += cases(family, (*EVERY, *FP8), f"x.to(torch.{name})", exact=True)
    for name in (*INTEGER_NAMES, *MORE_NAMES):
        found += cases(family, (*EVERY, *FP8), f"p.to(torch.{name})", exact=True)
        found += cases(family, SIGNED, f"x.to(torch.{name})", exact=True)
    for name in FP8_NAMES:
        found += cases(family, FLOATS, f"g.to(torch.{name})", exact=True)
    short = "float double half bfloat16 int long bool".split()
    short += ["short", "char", "byte"]
    found += cases(family, EVERY, *(f"p.{name}()" for name in short), exact=True)
    found += cases(
        family,
        NUMERIC,
        "x.type(torch.float32)",
        "x.type_as(y)",
        "x.to(y)",
        "x.to(dtype=torch.float64)",
        "x.to(torch.float32, copy=True)",
        exact=True,
    )
    return found + bit_casts()


def bit_casts() -> list[Case]:
    """``view`` of each dtype as another one of its size."""
    sizes = {
        8: "int64 float64",
        4: "int32 float32 uint32",
        2: "int16 float16 bfloat16",
        1: "int8 uint8 float8_e4m3fn float8_e5m2",
    }
    found: list[Case] = []
    for names in sizes.values():
        group = [getattr(torch, name) for name in names.split()]
        for name in names.split():
            others = [d for d in group if d != torch.uint32 and str(d)[6:] != name]
            text = f"g.view(torch.{name})"
            found += cases("bit casts", tuple(others), text, exact=True)
    return found


def in_place() -> list[Case]:
    """Methods that end in an underscore; every name of the tensor sees the change."""
    family = "in place"
    calls = """add_(y) sub_(y) mul_(y) add_(2) mul_(3) sub_(1) add_(y,alpha=2) zero_()
        fill_(3) copy_(y) copy_(row) masked_fill_(m,2) clamp_(1,3) clamp_min_(1)
        clamp_max_(2) neg_() abs_() square_() sign_() addcmul_(y,z) maximum(y)
        add_(row) mul_(col) pow_(2) remainder_(n) floor_divide_(n) fmod_(n)"""
    floats = """div_(y) relu_() sigmoid_() tanh_() exp_() log_() sqrt_() rsqrt_() sin_()
        cos_() floor_() ceil_() round_() trunc_() frac_() reciprocal_() erf_() expm1_()
        log1p_() exp2_() log2_() lerp_(y,0.25) addcdiv_(y,n) div_(2) nan_to_num_()
        copysign_(y) atan2_(y) hypot_(y) erfinv_() logit_(0.1) xlogy_(p) digamma_()"""
    logic = "logical_and_(y) logical_not_() eq_(y) lt_(y) ge_(1) ne_(y)"
    bits = "bitwise_and_(y) bitwise_or_(3) bitwise_xor_(y) bitwise_not_()"
    found: list[Case] = []
    kinds = ((calls, NUMERIC), (floats, FLOATS), (logic, NUMERIC), (bits, INTEGERS))
    for text, dtypes in kinds:
        for call in text.split():
            lines = ("v = x * 1", "alias = v", f"v = v.{call}")
            facts = ZERO_SIGN if call == "relu_()" else {}
            found += cases(
                family, dtypes, "alias", lines=lines, label=f"x.{call}", **facts
            )
    for sign in ("+", "-", "*"):
        lines = ("v = x * 1", f"v {sign}= y")
        found += cases(family, NUMERIC, "v", lines=lines, label=lines[1])
    for line in ("v &= y", "v |= y", "v ^= y", "v <<= s", "v >>= s"):
        found += cases(family, INTEGERS, "v", lines=("v = x * 1", line), label=line)
    for line in ("v /= n", "v //= n", "v **= 2", "v %= n"):
        found += cases(family, FLOATS, "v", lines=("v = x * 1", line), label=line)
    calls = """F.relu_(v) F.leaky_relu_(v) F.elu_(v) F.hardtanh_(v) F.selu_(v)
        F.silu(v,inplace=True) F.relu(v,inplace=True) torch.exp_(v) torch.zero_(v)
        torch.fill_(v,2) torch.sigmoid_(v) torch.clamp_(v,0,1)"""
    for call in calls.split():
        facts = ZERO_SIGN if "relu" in call or "clamp" in call else {}
        lines = ("v = x * 1", call)
        found += cases(family, FLOATS, "v", lines=lines, label=call, **facts)
    return found


def factories() -> list[Case]:
    """What makes tensors of the shape or dtype of others, or of none."""
    family = "factories"
    like = """zeros_like(x) ones_like(x) full_like(x,3) zeros_like(x,dtype=torch.int32)
        full_like(x,2.5,dtype=torch.float64)"""
    found = cases(
        family, EVERY, *(f"torch.{text}" for text in like.split()), exact=True
    )
    found += cases(
        family,
        EVERY,
        "x.new_zeros(x.shape)",
        "x.new_ones(x.shape)",
        "x.new_full(x.shape, 3)",
        "x.new_zeros(x.shape, dtype=torch.float32)",
        "torch.empty_like(x).fill_(2)",
        "torch.full(x.shape, 2.0)",
        "torch.zeros(x.shape)",
        "torch.ones(x.shape, dtype=torch.int64)",
        exact=True,
    )
    return (
        found
        + cases(
            family,
            F32,
            "torch.eye(8)",
            "torch.eye(4, 8)",
            "torch.eye(8, dtype=torch.int32)",
            "torch.arange(8)",
            "torch.arange(2, 10)",
            "torch.arange(0, 16, 2)",
            "torch.arange(8, dtype=torch.float32)",
            "torch.arange(0.0, 4.0, 0.5)",
            "torch.arange(8, 0, -1)",
            "torch.linspace(0, 1, 8)",
            "torch.linspace(-3, 3, 16)",
            "torch.logspace(0, 2, 8)",
            "torch.full((4, 8), 1.5)",
            "torch.full([8], True)",
            "torch.zeros(4, 8)",
            "torch.ones([8])",
            "torch.tensor(2.5)",
            "torch.scalar_tensor(3)",
            "torch.meshgrid(torch.arange(4), torch.arange(8), indexing='ij')",
            "torch.tril(x)",
            "torch.triu(x)",
            "torch.tril(x, 1)",
            "torch.triu(x, -2)",
            "x.tril()",
            "torch.ones(8, 8).triu(1)",
            "torch.diag(x @ x.T)",
            "torch.diag_embed(row)",
            "torch.cartesian_prod(torch.arange(4), torch.arange(2))",
            "torch.bucketize(g, edges)",
            "torch.bucketize(x, edges, right=True)",
            "torch.searchsorted(edges, g)",
            "torch.searchsorted(edges, g, out_int32=True, side='right')",
            layout="whole",
        )
        + cases(
            family,
            F32,
            "torch.complex(x, y).real",
            "torch.view_as_real(torch.polar(x, y))",
            refused="BackendUnsupported",
            note="Triton has no complex numbers",
        )
    )


CASES = [*casts(), *in_place(), *factories()]
