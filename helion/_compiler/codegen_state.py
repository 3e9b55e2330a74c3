"""What a codegen rule sees: the node being emitted and the launch around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.fx.node import map_arg

from .ast_extension import as_expr, expr, text_of
from .node_args import int_arg

if TYPE_CHECKING:
    import ast

    from ..runtime.config import Config
    from .compile_environment import CompileEnvironment


@dataclass
class CodegenState:
    """One node under one Config; ``launch`` is the DeviceFunction being built."""

    env: CompileEnvironment
    config: Config
    launch: Any
    node: fx.Node
    values: dict[fx.Node, Any]

    @property
    def value(self) -> Any:
        """The fake result of the node."""
        return self.node.meta["val"]

    def arg(self, index: int, default: Any = None) -> Any:
        """Return an argument with nodes replaced by their expressions."""
        args = self.node.args
        return self.resolve(args[index]) if index < len(args) else default

    def int_arg(self, index: int) -> int:
        """Return an argument that is a plain number."""
        return int_arg(self.node, index)

    def fake_arg(self, index: int) -> Any:
        """Return an argument with nodes replaced by their fake values."""
        return map_arg(self.node.args[index], lambda n: n.meta["val"])

    def resolve(self, value: Any) -> Any:
        """Replace nodes inside a value by their expressions."""
        if isinstance(value, fx.Node):
            return self.values[value]
        if isinstance(value, (list, tuple)):
            return type(value)(self.resolve(v) for v in value)
        return value

    def expr_arg(self, index: int) -> ast.expr:
        """Return an argument as an expression; numbers become literals."""
        return as_expr(self.arg(index))

    def text_arg(self, index: int) -> str:
        """Return an argument as text."""
        return text_of(self.expr_arg(index))

    def positions(self) -> ast.expr:
        """Return 0, 1, 2... for a range: the index of the loop, if it is marked so."""
        marked = self.node.meta.get("loop_index")
        if marked is None:
            return self.launch.local_index(self.value.shape[0])
        axis = self.launch.axes[marked.block_id]
        assert marked.has_mask or axis.mask is None, f"{self.node.name}: {marked}"
        return expr(axis.index)

    def lift(self, value: ast.expr, hint: str = "v") -> ast.expr:
        """Assign a value to a fresh name and return the name."""
        return self.launch.lift(value, hint)

    def shape_expr(self, shape: Any) -> ast.expr:
        """Return the Triton shape list of device extents."""
        return self.launch.shape_expr(list(shape))

    def dtype_expr(self, dtype: torch.dtype | None = None) -> ast.expr:
        """Return the Triton dtype of a torch dtype (default: the result's)."""
        wanted = self.value.dtype if dtype is None else dtype
        return expr(self.env.backend.dtype_text(wanted))
