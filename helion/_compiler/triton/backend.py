"""The manifest of the Triton target."""

from __future__ import annotations

from typing import Any

from ..backend import AtenRule, Backend, register_backend
from .aten_rules import SIMPLE, fallback_rule, pointwise_rule
from .dtypes import cast_text, literal, triton_dtype
from .gathers import GATHERS
from .inductor_ops import IMPORTS, decompositions
from .printer import print_device, print_host
from .products import product
from .reductions import REDUCTIONS, fold_of
from .slices import SLICES
from .stacking import STACKING


def aten_rule(target: Any) -> AtenRule | None:
    """Return our rule of an ATen operator, None if Inductor must help."""
    for table in (SIMPLE, REDUCTIONS, STACKING, SLICES, GATHERS):
        if target in table:
            return table[target]
    return pointwise_rule(target)


TRITON = Backend(
    name="triton",
    aten_rule=aten_rule,
    fallback_rule=fallback_rule,
    decompositions=decompositions,
    dtype_text=triton_dtype,
    literal=literal,
    cast_text=cast_text,
    product=product,
    print_expr=print_device,
    print_host_expr=print_host,
    fold_of=fold_of,
    imports={
        "torch": "import torch",
        "triton": "import triton",
        "tl": "import triton.language as tl",
        "libdevice": "from triton.language.extra import libdevice",
        "triton_helpers": IMPORTS["triton_helpers"],
        "device_folds": "from helion._compiler.triton import device_folds",
        "device_math": "from helion._compiler.triton import device_math",
        "low_bits": "from helion._compiler.triton import low_bits",
        "device_histograms": ("from helion._compiler.triton import device_histograms"),
        "device_sorts": "from helion._compiler.triton import device_sorts",
        "tl_math": IMPORTS["tl_math"],
        "gdc_wait": "from helion._compiler.triton.launch_overlap import gdc_wait",
        "gdc_launch_dependents": (
            "from helion._compiler.triton.launch_overlap import gdc_launch_dependents"
        ),
        "math": "import math",
        "_default_launcher": (
            "from helion.runtime.launcher import default_launcher as _default_launcher"
        ),
        "_aligned": "from helion.runtime.descriptors import aligned as _aligned",
        "_describable": (
            "from helion.runtime.descriptors import describable as _describable"
        ),
        "_descriptor": (
            "from helion.runtime.descriptors import descriptor as _descriptor"
        ),
        "_draw_seed": (
            "from helion.language.random_ops import draw_seed as _draw_seed"
        ),
        "_arrival_counters": (
            "from helion.runtime.arrivals import arrival_counters as _arrival_counters"
        ),
        "_num_sms": "from helion.runtime.device import num_sms as _num_sms",
    },
)
register_backend(TRITON)
