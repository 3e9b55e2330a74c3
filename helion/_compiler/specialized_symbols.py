"""The registry of specialized sizes: which number is which symbol, and its checks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

from . import symbols
from .provenance import Provenance, ProvenanceTable
from .specialized_value import SpecializedValue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sympy
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from .provenance import Place
    from .variable_origin import Origin

# What a dimension of unknown size is planned with.
FALLBACK_HINT = 8192
_LISTED = 20


class SpecializedSymbols:
    """The sizes of one compile that ``hl.specialize`` made numbers.

    ``specialized_symbol_registry`` maps numbers to symbols; of two symbols with one
    number it has the first, and a ``context`` tells them apart.
    ``specialized_concrete_values`` maps every symbol to its number. Of the dimensions
    of such a length, ``reused`` were answered with what is known, ``minted`` had got
    a symbol of their own.
    """

    def __init__(
        self,
        shape_env: ShapeEnv,
        origins: dict[sympy.Symbol, Origin] | None = None,
        origin_of: Callable[[torch.Tensor], Origin | None] = lambda tensor: None,
        keeps_identity: bool = True,
    ) -> None:
        self.shape_env = shape_env
        self.origins = {} if origins is None else origins
        self.keeps_identity = keeps_identity
        self.specialized_symbol_registry: dict[int, sympy.Symbol] = {}
        self.specialized_concrete_values: dict[sympy.Symbol, int] = {}
        self.specialized_vars: set[sympy.Symbol] = set()
        self.contexts: dict[tuple[int, str], sympy.Symbol] = {}
        self.reused = 0
        self.minted = 0
        self.table = ProvenanceTable(origin_of)
        self._by_place: dict[object, sympy.Symbol] = {}

    # -- the two maps --------------------------------------------------------------

    def register_specialized_value(
        self, value: int, symbol: sympy.Symbol, context: str | None = None
    ) -> None:
        """Note that a symbol stands for a number; the first one owns the number."""
        number = int(value)
        self.specialized_symbol_registry.setdefault(number, symbol)
        self.specialized_concrete_values[symbol] = number
        self.specialized_vars.add(symbol)
        if context is not None:
            self.contexts.setdefault((number, context), symbol)

    def get_specialized_symbol(
        self, value: object, context: str | None = None
    ) -> sympy.Symbol | None:
        """Return the symbol of a specialized size or of a number, None if unknown."""
        if context is None and isinstance(value, SpecializedValue):
            return value.symbol
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        if context is not None:
            return self.contexts.get((int(value), context))
        return self.specialized_symbol_registry.get(int(value))

    # -- hl.specialize -------------------------------------------------------------

    def specialize_symint(self, value: torch.SymInt, context: str | None = None) -> int:
        """Return the number of a symbolic size, tagged if it is one symbol."""
        # Sizes that were found equal, or decided, before are another expression now.
        now, original = value.node.expr, value.node._expr
        # Evaluating the symbol records a guard: another number binds anew.
        number = int(value)
        self.specialized_vars |= original.free_symbols
        symbol = next((e for e in (now, original) if e.is_Symbol), None)
        return number if symbol is None else self.tag(number, symbol, context)

    def specialize_int(
        self, number: int, place: Place | None, context: str | None = None
    ) -> int:
        """Return a number tagged as the size of ``place``; None: it is no size."""
        if place is None or not self.keeps_identity:
            return number
        key = (place.key, number)
        symbol = self._by_place.get(key)
        if symbol is None:
            label = place.origin.host_str()
            symbol = symbols.size_symbol(self.shape_env, label)
            self._by_place[key] = symbol
            self.origins[symbol] = place.origin
        return self.tag(number, symbol, context)

    def tag(self, number: int, symbol: sympy.Symbol, context: str | None = None) -> int:
        """Fix a symbol to a number, register it and return the number that says so."""
        if not self.keeps_identity:
            return number
        symbols.set_replacement(self.shape_env, symbol, number, "hl.specialize")
        self.register_specialized_value(number, symbol, context)
        return SpecializedValue(number, symbol, context)

    # -- dimensions ----------------------------------------------------------------

    def create_symint_for_dimension(
        self, value: int | torch.SymInt | None, *, hint: int | None = None
    ) -> torch.SymInt:
        """Return the SymInt of a dimension: the known symbol, else a fresh one.

        A SymInt is returned as it is. ``hint`` is the size to plan with if the number
        is not known (None).
        """
        if isinstance(value, torch.SymInt):
            return value
        symbol = self.get_specialized_symbol(value)
        if symbol is not None and value is not None:
            self.reused += 1
            return symbols.known_symint(self.shape_env, symbol, int(value))
        result = symbols.unbacked_symint(self.shape_env)
        plan = hint if hint is not None else value
        plan = FALLBACK_HINT if plan is None else int(plan)
        symbols.give_hint(self.shape_env, result.node.expr, plan)
        return result

    def ensure_specialized_symbols(self, sizes: Sequence[int | torch.SymInt]) -> None:
        """Link symbols that were made for a specialized size to that size's own.

        A symbol says so by the hint it was made with.
        """
        if not self.specialized_symbol_registry:
            return
        for size in sizes:
            expression = symbols.sym_expr(size)
            if not expression.is_Symbol or not symbols.is_unbacked(expression):
                continue
            hint = symbols.hint_of(self.shape_env, expression)
            known = None if hint is None else self.get_specialized_symbol(hint)
            if known is not None:
                self.minted += 1
                number = self.specialized_concrete_values[known]
                reason = f"it is the specialized size {known}"
                symbols.set_replacement(self.shape_env, expression, number, reason)

    def resolve(self, sizes: Sequence[int | torch.SymInt]) -> list[int | torch.SymInt]:
        """Return sizes with a number where only specialized symbols are involved."""
        self.ensure_specialized_symbols(sizes)
        resolved: list[int | torch.SymInt] = []
        for size in sizes:
            known = symbols.static_int(size)
            if known is not None:
                self.count_dimension(known)
            resolved.append(size if known is None else known)
        return resolved

    def count_dimension(self, size: int | None) -> None:
        """Count a dimension that is known by its number as one that is reused."""
        if size in self.specialized_symbol_registry:
            self.reused += 1

    # -- questions -----------------------------------------------------------------

    def provenance(self, what: object) -> Provenance | None:
        """Say which specialized sizes a number comes from, and by which formula.

        ``what`` is a name of the host function, a number, a SymInt or an expression.
        None: it comes from no specialized size. By its number alone a value is found
        as the first one of that number.
        """
        formula = self._formula(what)
        if formula is None or not formula.free_symbols:
            return None
        named = {str(s): self.label(s) for s in formula.free_symbols}
        numbers = {
            s: symbols.sym_expr(n) for s, n in self.specialized_concrete_values.items()
        }
        value = formula.xreplace(numbers)
        number = int(value) if value.is_Integer else None
        return Provenance(number, formula, named)

    def label(self, symbol: sympy.Symbol) -> str:
        """Return how host code spells a symbol."""
        origin = self.origins.get(symbol)
        if origin is None:
            return symbol.name
        return origin.host_str().replace("_given_", "")

    def _formula(self, what: object) -> sympy.Expr | None:
        table = self.table
        if isinstance(what, str):
            found = table.names.get(what)
            return None if found is None else found[0]
        if isinstance(what, torch.SymInt):
            return what.node._expr  # as it was before replacements
        if isinstance(what, int):
            return self.get_specialized_symbol(what) or table.numbers.get(what)
        return symbols.sym_expr(what)

    def validate_specialized_symbols(self, verbose: bool = False) -> list[str]:
        """List symbols that were made for a specialized size and not linked to it.

        ``verbose`` prints each problem to stderr as well.
        """
        issues: list[str] = []
        for symbol, hint in symbols.hints(self.shape_env).items():
            expected = self.specialized_symbol_registry.get(hint)
            if expected is None or not symbols.is_unbacked(symbol):
                continue
            if self.shape_env.replace(symbol) == symbol:
                issues.append(
                    f"unbacked symbol {symbol} has the hint {hint} of a specialized "
                    f"size, but no replacement; {expected} should stand for it"
                )
        if verbose:
            for issue in issues:
                print(f"[specialized symbols] {issue}", file=sys.stderr)
        return issues

    def check(self) -> None:
        """Raise RuntimeError if ``validate_specialized_symbols`` finds a problem."""
        issues = self.validate_specialized_symbols()
        if issues:
            raise RuntimeError(f"symbol validation failed: {'; '.join(issues)}")

    def dump_symbol_info(self) -> None:
        """Print the registry, the hints and the replacements to stderr."""
        for line in [
            "=== specialized symbols ===",
            *(f"  {n} -> {s}" for n, s in self.specialized_symbol_registry.items()),
            *(f"  {n} ({c}) -> {s}" for (n, c), s in self.contexts.items()),
            *(f"  {s} is {self.label(s)}" for s in self.specialized_concrete_values),
            "=== hints ===",
            *(f"  {s} -> {n}" for s, n in self._hints()),
            "=== replacements ===",
            *(f"  {s} -> {self.shape_env.replace(s)}" for s in self._replaced()),
        ]:
            print(line, file=sys.stderr)

    def _hints(self) -> list[tuple[sympy.Symbol, int]]:
        known = {**symbols.hints(self.shape_env), **self.specialized_concrete_values}
        return list(known.items())[:_LISTED]

    def _replaced(self) -> list[sympy.Symbol]:
        every = [*self.specialized_concrete_values, *self.shape_env.replacements]
        return list(dict.fromkeys(every))[:_LISTED]
