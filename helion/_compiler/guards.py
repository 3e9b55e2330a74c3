"""What stage 1 assumed of the arguments, as code that checks a later call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import exc
from . import symbols

if TYPE_CHECKING:
    import sympy

    from .compile_environment import CompileEnvironment
    from .host_function import HostFunction


def of(host: HostFunction, env: CompileEnvironment) -> tuple[str, tuple[Any, ...]]:
    """Return a lambda over the parameters and the outcome that it must give."""
    texts: list[str] = []
    blocks = {info.symbol for info in env.block_sizes}
    for expression in symbols.guard_expressions(env.shape_env):
        if expression.free_symbols & blocks:
            _check_block_guard(env, expression)
            continue
        text = env.backend.print_host_expr(expression, lambda s: _argument(env, s))
        if text not in texts:
            texts.append(text)
    if not texts:
        return "", ()
    parameters = ", ".join(host.params)
    return f"lambda {parameters}: ({', '.join(texts)},)", (True,) * len(texts)


def _argument(env: CompileEnvironment, symbol: sympy.Symbol) -> str:
    text = env.symbol_origins[symbol].host_str()
    return text.replace("_given_", "")


def _check_block_guard(env: CompileEnvironment, expression: sympy.Basic) -> None:
    """A block size differs per Config, so nothing may be decided by its value."""
    name = expression.func.__name__
    if name == "Unequality":
        return
    # Layout questions of host tensors whose sizes are computed from block sizes.
    is_lower_bound = name in ("GreaterThan", "StrictGreaterThan", "Ge", "Gt")
    if is_lower_bound and expression.args[1] in (0, 1, 2):
        return
    if name == "Equality" and _is_at_least_one(*expression.args):
        return
    if _holds_for_all_blocks(env, expression):
        return
    raise exc.ShapeSpecializingCall(call=f"the comparison {expression} of a block size")


def _is_at_least_one(left: sympy.Basic, right: sympy.Basic) -> bool:
    """Whether an equality says no more than that a size is not 0."""
    return any(
        bounded.func.__name__ == "Max" and set(bounded.args) == {1, size}
        for bounded, size in ((left, right), (right, left))
    )


def _holds_for_all_blocks(env: CompileEnvironment, expression: sympy.Basic) -> bool:
    """Whether a relation of one block size is true for each that a Config may have."""
    infos = [b for b in env.block_sizes if b.symbol in expression.free_symbols]
    if len(infos) != 1 or len(expression.free_symbols) != 1:
        return False
    (info,) = infos
    most = info.max_size or info.size_hint()
    sizes = [1 << i for i in range(most.bit_length() + 1) if 1 << i >= info.min_size]
    return all(bool(expression.subs(info.symbol, size)) for size in sizes)
