"""Reductions: along rows, along columns, along several dims and of everything."""

from __future__ import annotations

import torch

from test.op_coverage.case import EVERY, F32, FLOATS, NO_KERNEL, NUMERIC, Case
from test.op_coverage.pointwise_cases import cases


def folds() -> list[Case]:
    """Reductions of any dtype, of rows in a tile and of a whole tensor."""
    found: list[Case] = []
    for name in ("amax", "amin", "argmax", "argmin", "any", "all"):
        kinds = EVERY if name in ("amax", "amin", "any", "all") else NUMERIC
        texts = [f"torch.{name}(x, -1)", f"x.{name}(dim=1, keepdim=True)"]
        found += cases("reductions", kinds, *texts, layout="rows", exact=True)
        texts = [f"torch.{name}(g)", f"x.{name}()", f"x.{name}(0)"]
        texts += [f"x.{name}(-2, keepdim=True)"]
        if name.startswith("am") or name in ("any", "all"):
            texts += [f"x.{name}((0, 1))", f"torch.{name}(g, (0, 1), keepdim=True)"]
        found += cases("reductions", kinds, *texts, layout="whole", exact=True)
    for name in ("max", "min"):
        kinds = EVERY
        rows = [f"torch.{name}(x, -1)", f"x.{name}(1, keepdim=True)"]
        rows += [f"x.{name}(-1).values", f"torch.{name}(x, dim=1)[1]"]
        found += cases("reductions", kinds, *rows, layout="rows", exact=True)
        whole = [f"x.{name}()", f"g.{name}()", f"x.{name}(0)"]
        found += cases("reductions", kinds, *whole, layout="whole", exact=True)
    found += cases(
        "reductions", NUMERIC, "torch.aminmax(x, dim=-1)", layout="rows", exact=True
    )
    found += cases(
        "reductions", NUMERIC, "torch.aminmax(x)", layout="whole", exact=True
    )
    counts = ["torch.count_nonzero(x)", "torch.count_nonzero(x, 0)"]
    found += cases("reductions", EVERY, *counts, layout="whole", exact=True)
    found += cases(
        "reductions", EVERY, "torch.count_nonzero(x, -1)", layout="rows", exact=True
    )
    return found


def sums() -> list[Case]:
    """Sums, products and means; ``s`` keeps products small."""
    found: list[Case] = []
    for name, at in (("sum", "x"), ("prod", "s"), ("nansum", "x")):
        kinds = EVERY if name != "nansum" else NUMERIC
        rows = [f"torch.{name}({at}, -1)", f"{at}.{name}(1, keepdim=True)"]
        rows += [f"{at}.{name}(-1, dtype=torch.float32)"]
        found += _loose(kinds, "rows", *rows)
        whole = [f"{at}.{name}()", f"{at}.{name}(0)", f"torch.{name}(g, 0)"]
        whole += [f"torch.{name}({at}, dtype=torch.float64)"]
        if name != "prod":
            whole += [f"{at}.{name}((0, 1))", f"{at}.{name}([0, 1], keepdim=True)"]
        found += _loose(kinds, "whole", *whole)
    for name in ("mean", "nanmean"):
        rows = [f"torch.{name}(x, -1)", f"x.{name}(1, keepdim=True)"]
        found += _loose(FLOATS, "rows", *rows)
        whole = [f"g.{name}()", f"x.{name}(0)", f"g.{name}((0, 1))"]
        found += _loose(FLOATS, "whole", *whole)
    integers = ["x.mean(dtype=torch.float32)", "x.mean(0, dtype=torch.float64)"]
    return found + _loose(EVERY, "whole", *integers)


def _loose(dtypes: tuple[torch.dtype, ...], layout: str, *texts: str) -> list[Case]:
    """Return cases of sums, whose roundings add up."""
    return cases("reductions", dtypes, *texts, layout=layout, scale=4)


def moments() -> list[Case]:
    """Variances, norms and what is made of sums of exponentials."""
    found: list[Case] = []
    for name in ("var", "std", "var_mean", "std_mean"):
        rows = [f"torch.{name}(g, -1)", f"torch.{name}(x, dim=1, keepdim=True)"]
        rows += [f"torch.{name}(g, -1, correction=0)"]
        rows += [f"torch.{name}(g, -1, unbiased=False)"]
        found += _loose(FLOATS, "rows", *rows)
        whole = [f"torch.{name}(g)", f"torch.{name}(g, 0)", f"torch.{name}(g, (0, 1))"]
        found += _loose(FLOATS, "whole", *whole)
    rows = ["torch.logsumexp(x, -1)", "x.logsumexp(1, keepdim=True)"]
    rows += ["g.norm(dim=-1)", "torch.norm(x, dim=1)", "g.norm(1, -1)", "g.norm(3, -1)"]
    orders = ("0", "1", "2", "3", "inf", "-inf", "0.5", "-1")
    rows += [f"torch.linalg.vector_norm(n, {p}, dim=-1)" for p in orders]
    rows += ["torch.linalg.norm(g, dim=-1)", "torch.linalg.vecdot(g, n, dim=-1)"]
    found += _loose(FLOATS, "rows", *rows)
    whole = ["torch.logsumexp(g, (0, 1))", "torch.logsumexp(x, 0)", "g.norm()"]
    whole += ["torch.linalg.vector_norm(g)", "torch.linalg.vector_norm(g, 1)"]
    whole += ["torch.linalg.vector_norm(g, inf, dim=(0, 1))", "torch.dist(g, n)"]
    whole += ['g.norm("fro")', "torch.linalg.matrix_norm(g)", "g.norm(dim=(0, 1))"]
    whole += ["torch.linalg.matrix_norm(g, 1)", "torch.linalg.matrix_norm(g, inf)"]
    whole += ["torch.dist(g, n, 1)", "torch.dist(g, n, inf)"]
    whole += ["torch.renorm(g, 2, 0, 1.0)", "torch.trapezoid(g, dim=1)"]
    found += _loose(FLOATS, "whole", *whole)
    ints = ["x.logsumexp(-1)", "torch.median(g, -1)", "g.median()", "g.nanmedian()"]
    ints += ["g.quantile(0.5)", "g.kthvalue(2, -1)"]
    found += cases("reductions", (*F32, torch.int32), *ints[:1], layout="rows")
    found += cases(
        "reductions",
        F32,
        "g.mode(-1)",
        layout="whole",
        **NO_KERNEL,
    )
    return found + cases("reductions", F32, *ints[1:], layout="whole")


CASES = [*folds(), *sums(), *moments()]
