"""How many instructions elementwise operations and folds take, for the cost model."""

from __future__ import annotations

from torch import fx

from .device_ir import INTERNAL_FOLDS, target_name

# (instructions, special functions) of an element; one instruction if not listed.
# Counted in the machine code for sm_90: a division and a tanh are short programs.
COSTS = {
    "exp": (2, 1),
    "exp2": (1, 1),
    "log": (2, 1),
    "log2": (1, 1),
    "log1p": (12, 1),
    "expm1": (12, 1),
    "sqrt": (4, 1),
    "rsqrt": (1, 1),
    "reciprocal": (4, 1),
    "div": (8, 1),
    "sigmoid": (8, 2),
    "tanh": (12, 2),
    "sin": (20, 1),
    "cos": (20, 1),
    "erf": (18, 1),
    "gelu": (20, 1),
    "silu": (9, 2),
    "pow": (20, 2),
    "maximum": (1, 0),
    "floor_divide": (8, 1),
    "remainder": (8, 1),
    "softplus": (16, 2),
}
SLOW_KINDS = ("sort", "scan", "cumsum", "cumprod", "kth")


# Language operations that are counted elsewhere, or cost next to nothing.
COUNTED = ("load", "store", "tile_index", "arange", "split", "join", "rand", "full")


def is_counted(name: str) -> bool:
    """Whether the facts have the work of a language operation."""
    if name.startswith("atomic_") or any(word in name for word in SLOW_KINDS):
        return True
    return name in COUNTED or name in ("subscript", "zeros", "randint", "rand4x")


def cost_of(node: fx.Node) -> tuple[float, float]:
    """Return instructions and special functions of an elementwise node."""
    name = target_name(node)
    op = name.split(".")[1] if "." in name else name
    if op == "div" and not isinstance(node.args[1], fx.Node):
        return 1, 0
    return COSTS.get(op, (1, 0))


def is_fold(node: fx.Node) -> bool:
    """Whether a node folds, scans or sorts."""
    if type(node.meta.get("lowering")).__name__ == "ReductionLowering":
        return True
    return any(word in target_name(node) for word in SLOW_KINDS)


def fold_kind(node: fx.Node) -> tuple[str, int]:
    """Return what kind of a fold a node is, and how many values it leaves."""
    name = target_name(node)
    if node.target in INTERNAL_FOLDS:
        return name, 2
    if "arg" in name:
        return "arg", 2
    kind = next((k for k in SLOW_KINDS if k in name), "fold")
    return "scan" if kind.startswith("cum") else kind, 1
