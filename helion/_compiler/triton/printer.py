"""Prints symbolic expressions as Triton or as host Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy.printing.str import StrPrinter

from ... import exc

if TYPE_CHECKING:
    from collections.abc import Callable


class _Printer(StrPrinter):
    """Integer arithmetic over sizes and tile facts, fully parenthesised."""

    # Else torch's functions would print themselves, by their ``_sympystr``.
    printmethod = "_helion_text"
    minimum = "min"
    maximum = "max"

    def __init__(self, symbol_text: Callable[[sympy.Symbol], str]) -> None:
        super().__init__()
        self.symbol_text = symbol_text

    def _print_Symbol(self, expr: sympy.Symbol) -> str:
        return self.symbol_text(expr)

    def _join(self, expr: Any, operator: str) -> str:
        return "(" + operator.join(self._print(a) for a in expr.args) + ")"

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        terms = sorted(expr.args, key=lambda a: (a.is_number, str(a)))
        text = self._print(terms[0])
        for term in terms[1:]:
            negative = term.could_extract_minus_sign()
            text += (
                f" - {self._print(-term)}" if negative else f" + {self._print(term)}"
            )
        return f"({text})"

    def _print_Mul(self, expr: Any) -> str:
        numerator, denominator = expr.as_numer_denom()
        if denominator != 1 and denominator.is_Integer:
            return f"({self._print(numerator)} / {self._print(denominator)})"
        return self._join(expr, " * ")

    def _print_Pow(self, expr: Any) -> str:
        base, exponent = expr.args
        if exponent.is_Integer and 0 < int(exponent) <= 8:
            return "(" + " * ".join([self._print(base)] * int(exponent)) + ")"
        if exponent == sympy.Rational(1, 2):
            return self.sqrt(self._print(base))
        return f"({self._print(base)} ** {self._print(exponent)})"

    def sqrt(self, text: str) -> str:
        return f"math.sqrt({text})"

    def _binary(self, expr: Any, operator: str) -> str:
        left, right = (self._print(a) for a in expr.args)
        return f"({left} {operator} {right})"

    def _print_FloorDiv(self, expr: Any) -> str:
        return self._binary(expr, "//")

    _print_CleanDiv = _print_FloorDiv

    def _print_floor(self, expr: Any) -> str:
        numerator, denominator = expr.args[0].as_numer_denom()
        return f"({self._print(numerator)} // {self._print(denominator)})"

    def _print_CeilToInt(self, expr: Any) -> str:
        return self._print_ceiling(expr)

    def _print_ceiling(self, expr: Any) -> str:
        numerator, denominator = expr.args[0].as_numer_denom()
        return f"(-(-({self._print(numerator)}) // {self._print(denominator)}))"

    def _print_Mod(self, expr: Any) -> str:
        return self._binary(expr, "%")

    _print_PythonMod = _print_Mod

    def _print_ModularIndexing(self, expr: Any) -> str:
        base, divisor, modulus = (self._print(a) for a in expr.args)
        return f"(({base} // {divisor}) % {modulus})"

    def _print_IntTrueDiv(self, expr: Any) -> str:
        return self._binary(expr, "/")

    _print_FloatTrueDiv = _print_IntTrueDiv

    def _print_ToFloat(self, expr: Any) -> str:
        return f"({self._print(expr.args[0])} * 1.0)"

    def _print_Identity(self, expr: Any) -> str:
        return self._print(expr.args[0])

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _fold(self, function: str, args: Any) -> str:
        text = self._print(args[0])
        for arg in args[1:]:
            text = f"{function}({text}, {self._print(arg)})"
        return text

    def _print_Min(self, expr: Any) -> str:
        return self._fold(self.minimum, expr.args)

    def _print_Max(self, expr: Any) -> str:
        return self._fold(self.maximum, expr.args)

    # torch's own Min and Max print under their lower-case names.
    _print_min, _print_max = _print_Min, _print_Max

    def _print_Relational(self, expr: Any) -> str:
        operators = {"Eq": "==", "Ne": "!="}
        operator = operators.get(type(expr).__name__, expr.rel_op)
        return f"({self._print(expr.lhs)} {operator} {self._print(expr.rhs)})"

    def _print_And(self, expr: Any) -> str:
        return self._join(expr, " & ")

    def _print_Or(self, expr: Any) -> str:
        return self._join(expr, " | ")

    def _print_Not(self, expr: Any) -> str:
        return f"({self._print(expr.args[0])} == False)"

    def _print_BooleanTrue(self, expr: Any) -> str:
        return "True"

    def _print_BooleanFalse(self, expr: Any) -> str:
        return "False"

    def _print_Function(self, expr: Any) -> str:
        return self.emptyPrinter(expr)

    def emptyPrinter(self, expr: Any) -> str:
        raise exc.BackendUnsupported(
            backend="triton", detail=f"{type(expr).__name__} in {expr}"
        )


class _HostPrinter(_Printer):
    def _print_PowByNatural(self, expr: Any) -> str:
        base, exponent = expr.args
        bits = exponent.args[0] if exponent.func.__name__ == "CeilToInt" else exponent
        if base == 2 and bits is not exponent and _is_log2(bits):
            return f"triton.next_power_of_2({self._print(_argument_of_log2(bits))})"
        return f"(({self._print(base)}) ** ({self._print(exponent)}))"

    def _print_FloatPow(self, expr: Any) -> str:
        base, exponent = (self._print(a) for a in expr.args)
        return f"(({base}) ** ({exponent}))"

    def _print_OpaqueUnaryFn_log2(self, expr: Any) -> str:
        return f"math.log2({self._print(expr.args[0])})"

    def _print_TruncToInt(self, expr: Any) -> str:
        return f"int({self._print(expr.args[0])})"

    def _print_RoundToInt(self, expr: Any) -> str:
        return f"round({self._print(expr.args[0])})"

    def _print_ceiling(self, expr: Any) -> str:
        if expr.args[0].as_numer_denom()[1] == 1:
            return f"math.ceil({self._print(expr.args[0])})"
        return super()._print_ceiling(expr)

    def _print_And(self, expr: Any) -> str:
        return self._join(expr, " and ")

    def _print_Or(self, expr: Any) -> str:
        return self._join(expr, " or ")


class _TritonPrinter(_Printer):
    """Triton divides integers as C does: towards zero where Python rounds down."""

    minimum = "tl.minimum"
    maximum = "tl.maximum"

    def sqrt(self, text: str) -> str:
        return f"tl.sqrt(({text}).to(tl.float32))"

    def _print_FloorDiv(self, expr: Any) -> str:
        return self._floor_div(*expr.args)

    def _print_floor(self, expr: Any) -> str:
        return self._floor_div(*expr.args[0].as_numer_denom())

    def _floor_div(self, left: Any, right: Any) -> str:
        above, below = self._print(left), self._print(right)
        if left.is_nonnegative and right.is_nonnegative:
            return f"({above} // {below})"
        return f"triton_helpers.div_floor_integer({above}, {below})"

    def _print_ceiling(self, expr: Any) -> str:
        left, right = expr.args[0].as_numer_denom()
        return f"(-{self._floor_div(-left, right)})"

    def _print_PythonMod(self, expr: Any) -> str:
        left, right = expr.args
        if left.is_nonnegative and right.is_nonnegative:
            return self._print_Mod(expr)
        pair = f"{self._print(left)}, {self._print(right)}"
        return f"triton_helpers.remainder_integer({pair})"


def _is_log2(expr: Any) -> bool:
    return expr.func.__name__ == "OpaqueUnaryFn_log2"


def _argument_of_log2(expr: Any) -> Any:
    (value,) = expr.args
    return value.args[0] if value.func.__name__ == "ToFloat" else value


def print_device(
    expression: sympy.Basic, symbol_text: Callable[[sympy.Symbol], str]
) -> str:
    """Return Triton code of an expression."""
    return _TritonPrinter(symbol_text).doprint(expression)


def print_host(
    expression: sympy.Basic, symbol_text: Callable[[sympy.Symbol], str]
) -> str:
    """Return Python code of an expression."""
    return _HostPrinter(symbol_text).doprint(expression)
