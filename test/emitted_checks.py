"""What holds for every emitted module: block sizes, definitions, loads.

``problems(code, cap)`` reads the text alone; the constexpr values are those that the
wrapper passes to the launch.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

CAP = 1_048_576
Shape = tuple[int, ...]
CONTROL = (ast.For, ast.While, ast.If)


def problems(code: str, cap: int = CAP) -> list[str]:
    """Return what is wrong with a module, as lines of text."""
    functions = [n for n in ast.parse(code).body if isinstance(n, ast.FunctionDef)]
    found: list[str] = []
    values, described = constants(functions), descriptors(functions)
    for function in functions:
        if function.name.startswith("_helion_") and function.decorator_list:
            blocks = Blocks(values, cap)
            blocks.shapes.update(described.get(function.name, {}))
            blocks.run(function.body)
            found += [f"{function.name}: {text}" for text in blocks.found]
            found += [f"{function.name}: {n} may be unset" for n in unset(function)]
            found += [f"{function.name}: twice {n}" for n in repeated_loads(function)]
    return found


def constants(functions: Sequence[ast.FunctionDef]) -> dict[str, int]:
    """Return the integers that wrappers assign to names in capitals."""
    wrappers = [f for f in functions if not f.decorator_list]
    assigned = [n for f in wrappers for n in ast.walk(f) if isinstance(n, ast.Assign)]
    return {
        target.id: node.value.value
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.startswith("_")
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)
    }


def descriptors(functions: Sequence[ast.FunctionDef]) -> dict[str, dict[str, Shape]]:
    """Return by kernel the blocks of the descriptors that wrappers pass to it."""
    parameters = {f.name: f.args.args for f in functions}
    found: dict[str, dict[str, Shape]] = {}
    for call in (n for f in functions for n in ast.walk(f) if isinstance(n, ast.Call)):
        name = ast.unparse(call.args[0]) if call.args else ""
        for given, parameter in zip(call.args[2:], parameters.get(name, ())):
            if isinstance(given, ast.Call) and ast.unparse(given.func) == "_descriptor":
                shape = ast.literal_eval(given.args[1])
                found.setdefault(name, {})[parameter.arg] = shape
    return found


# -- (a) sizes of blocks --------------------------------------------------------------


FOLDS = ("sum", "max", "min", "prod", "any", "max2", "min2", "xor_sum", "reduce")
FOLDS += ("fold_max", "fold_min")
SCALARS = ("program_id", "num_programs", "cdiv")


class Blocks:
    """Follows shapes through a kernel; a value of unknown shape is None."""

    def __init__(self, values: dict[str, int], cap: int) -> None:
        self.values = values
        self.cap = cap
        self.shapes: dict[str, Shape | None] = {}
        self.found: list[str] = []

    def run(self, body: Sequence[ast.stmt]) -> None:
        """Note every block above the cap that these statements make."""
        for statement in body:
            if isinstance(statement, ast.Assign):
                shape = self.shape(statement.value)
                for target in statement.targets:
                    self.shapes.update(dict.fromkeys(_stored(target), shape))
            else:
                for value in _own_expressions(statement):
                    self.shape(value)
            for inner in _bodies(statement):
                self.run(inner)

    def shape(self, node: ast.expr) -> Shape | None:
        """Return the shape of an expression."""
        visit = getattr(self, f"_{type(node).__name__}", None)
        result = visit(node) if visit is not None else ()
        if result is not None and math.prod(result) > self.cap:
            self.found.append(f"{result} in {ast.unparse(node)}")
            return None
        return result

    def _Name(self, node: ast.Name) -> Shape | None:
        return self.shapes.get(node.id, ())

    def _Tuple(self, node: ast.Tuple) -> Shape | None:
        return self._join(node.elts)

    def _join(self, nodes: Sequence[ast.expr]) -> Shape | None:
        """Broadcast what the nodes make."""
        shapes = [self.shape(node) for node in nodes]
        known = [shape for shape in shapes if shape is not None]
        return None if len(known) < len(shapes) else _broadcast(known)

    def _BinOp(self, node: ast.BinOp) -> Shape | None:
        return self._join([node.left, node.right])

    def _BoolOp(self, node: ast.BoolOp) -> Shape | None:
        return self._join(node.values)

    def _Compare(self, node: ast.Compare) -> Shape | None:
        return self._join([node.left, *node.comparators])

    def _UnaryOp(self, node: ast.UnaryOp) -> Shape | None:
        return self.shape(node.operand)

    def _Subscript(self, node: ast.Subscript) -> Shape | None:
        source = self.shape(node.value)
        if isinstance(node.slice, ast.Constant) and node.slice.value is not None:
            return source  # an element of a tuple, whose shapes agree
        if source is None:
            return None
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        rest = iter(source)
        return tuple(next(rest) if isinstance(i, ast.Slice) else 1 for i in items)

    def _Call(self, node: ast.Call) -> Shape | None:
        name = ast.unparse(node.func).rpartition(".")[2]
        rule = getattr(self, f"_call_{name}", None)
        if rule is not None:
            return rule(node.args)
        if name in SCALARS:
            return ()
        if name in FOLDS or name.endswith("_with_index") and len(node.args) == 3:
            return self._folded(node.args)
        values = list(node.args)
        if isinstance(node.func, ast.Attribute):
            values.append(node.func.value)  # v.to(...) has the shape of v
        return self._join(values)

    def _folded(self, args: Sequence[ast.expr]) -> Shape | None:
        source = self.shape(args[0])
        dims = [a.value for a in args if isinstance(a, ast.Constant)]
        if source is None or not dims:
            return None
        return tuple(s for i, s in enumerate(source) if i != dims[-1])

    def _call_arange(self, args: Sequence[ast.expr]) -> Shape | None:
        first, last = (self.number(a) for a in args)
        return None if first is None or last is None else (last - first,)

    def _call_make_tensor_descriptor(self, args: Sequence[ast.expr]) -> Shape | None:
        return self.listed(args[3])

    def _call_make_block_ptr(self, args: Sequence[ast.expr]) -> Shape | None:
        return self.listed(args[4])

    def _call_full(self, args: Sequence[ast.expr]) -> Shape | None:
        return self.listed(args[0])

    _call_zeros = _call_full

    def _call_broadcast_to(self, args: Sequence[ast.expr]) -> Shape | None:
        self.shape(args[0])
        return self.listed(args[1])

    _call_reshape = _call_broadcast_to

    def _call_expand_dims(self, args: Sequence[ast.expr]) -> Shape | None:
        source = self.shape(args[0])
        place = ast.literal_eval(args[1])
        return None if source is None else (*source[:place], 1, *source[place:])

    def _call_permute(self, args: Sequence[ast.expr]) -> Shape | None:
        source = self.shape(args[0])
        order = ast.literal_eval(args[1])
        return None if source is None else tuple(source[i] for i in order)

    def _call_dot(self, args: Sequence[ast.expr]) -> Shape | None:
        left, right = self.shape(args[0]), self.shape(args[1])
        return None if left is None or right is None else (*left[:-1], right[-1])

    def listed(self, node: ast.expr) -> Shape | None:
        """Return the shape that a list of sizes says."""
        assert isinstance(node, ast.List), ast.unparse(node)
        sizes = [self.number(item) for item in node.elts]
        known = tuple(size for size in sizes if size is not None)
        return known if len(known) == len(sizes) else None

    def number(self, node: ast.expr) -> int | None:
        """Return the value of a constexpr, None if only a call knows it."""
        try:
            code = compile(ast.Expression(node), "<size>", "eval")
            return int(eval(code, {"__builtins__": {}}, dict(self.values)))
        except (NameError, ValueError, TypeError):
            return None


def _broadcast(shapes: Sequence[Shape]) -> Shape | None:
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) for sizes in zip(*padded))


# -- (b) names that may be unset ------------------------------------------------------


def unset(function: ast.FunctionDef) -> list[str]:
    """Return the names that some path reads before it assigns them."""
    local = _stored(function)
    found: dict[str, None] = {}
    _assigned(function.body, {a.arg for a in function.args.args}, local, found)
    return list(found)


def _assigned(
    body: Sequence[ast.stmt], known: set[str], local: set[str], found: dict[str, None]
) -> set[str]:
    """Return the names that surely have a value behind ``body``."""
    known = set(known)
    for statement in body:
        for value in _own_expressions(statement):
            found.update(dict.fromkeys(_read(value) & local - known))
        if isinstance(statement, ast.For):
            _assigned(statement.body, known | _stored(statement.target), local, found)
        elif isinstance(statement, CONTROL):
            sides = [_assigned(b, known, local, found) for b in _bodies(statement)]
            if isinstance(statement, ast.If) and len(sides) == 2:
                known |= sides[0] & sides[1]
        elif isinstance(statement, (ast.Assign, ast.AugAssign)):
            known |= _stored(statement)
    return known


def _stored(node: ast.AST) -> set[str]:
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def _read(node: ast.AST) -> set[str]:
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    return {n.id for n in names if isinstance(n.ctx, ast.Load)}


# -- (c) loads ------------------------------------------------------------------------


def repeated_loads(function: ast.FunctionDef) -> list[str]:
    """Return the loads that one block does twice without a barrier between them."""
    found: list[str] = []
    blocks = [body for node in ast.walk(function) for body in _bodies(node)]
    for body in blocks:
        seen: set[str] = set()
        for call in _accesses(body):
            text = ast.unparse(call)
            if text.startswith("tl.debug_barrier("):
                seen.clear()
            elif text in seen:
                found.append(text)
            else:
                seen.add(text)
    return found


def _accesses(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    """Yield the loads and barriers of statements, without those of inner blocks."""
    for statement in body:
        for value in _own_expressions(statement):
            for node in ast.walk(value):
                function = node.func if isinstance(node, ast.Call) else None
                name = function.attr if isinstance(function, ast.Attribute) else ""
                if isinstance(node, ast.Call) and name in ("load", "debug_barrier"):
                    yield node


# -- statements -----------------------------------------------------------------------


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the statement lists of a node."""
    for name in ("body", "orelse"):
        inner: Any = getattr(node, name, None)
        if isinstance(inner, list) and inner:
            yield inner


def _own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield the expressions of a statement, not those of statements inside."""
    for _, value in ast.iter_fields(statement):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.expr):
                yield item
