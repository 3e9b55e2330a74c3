"""Host AST and device graphs to one Python module, for one Config."""

from __future__ import annotations

import ast
import builtins
import copy
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import exc
from . import symbols
from .ast_extension import assign, expr, facts, statements
from .choose_indexing import either, fits_descriptors, with_pointers
from .codegen_stream import PARTIALS
from .combine_functions import CombineFunctions
from .dead_code import eliminate_dead_code, has_assert
from .device_function import DeviceFunction
from .host_function import read_names, saved_name
from .launch_options import launch_options
from .tile_dispatch import block_values, program_ids, tile_strategy
from .tile_strategy import LoopDim
from .variable_origin import SEED_PREFIX, BlockSizeOrigin, TunableOrigin
from .wrap_lines import wrap_lines

if TYPE_CHECKING:
    from ..runtime.config import Config
    from .choose_indexing import IndexingChoice
    from .codegen_split import Partials
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, RootGraphInfo, SplitLaunch
    from .host_function import HostFunction
    from .indexing_tensor_descriptor import Described
    from .variable_origin import Origin


@dataclass
class ModuleBuilder:
    """Collects the kernels and the wrapper of one module."""

    host: HostFunction
    env: CompileEnvironment
    ir: DeviceIR
    config: Config
    kernels: list[ast.stmt] = field(default_factory=list)
    launches: dict[int, list[ast.stmt]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.helpers = CombineFunctions(self.env, self.config, self.host.name, self.ir)
        self.rolled = self._rolled()
        self.described: list[Described] = []
        self.choices: list[IndexingChoice] = []

    def build(self) -> str:
        """Return the text of the module."""
        graphs = self.ir.graphs_for(self.rolled)
        for index, root_id in enumerate(self.ir.root_ids):
            self._emit_launch(index, graphs[root_id], graphs)
        wrapper = _HostWriter(self).wrapper()
        body = [*self.helpers.definitions(), *self.kernels, wrapper]
        module = ast.Module(body=[*self._imports(body), *body], type_ignores=[])
        text = ast.unparse(ast.fix_missing_locations(module))
        return "from __future__ import annotations\n\n" + wrap_lines(_spaced(text))

    def _rolled(self) -> list[int]:
        specs = self.env.config_spec.reduction_loops
        chunks = self.config.reduction_loops
        pairs = zip(specs, chunks, strict=True)
        looped = {s.block_id for s, chunk in pairs if chunk is not None}
        chosen: list[int] = []
        for block_id in [b for b in self.ir.rolled_reductions if b in looped]:
            # What cannot be rolled beside the others stays in one tile.
            if self.ir.can_roll([*chosen, block_id]):
                chosen.append(block_id)
        return chosen

    # -- one launch ------------------------------------------------------------------

    def _emit_launch(self, index: int, root: Any, graphs: dict[int, Any]) -> None:
        suffix = f"_{index}" if index else ""
        code = self._emit_kernels(suffix, root, graphs)
        if self.described:
            check, choices = fits_descriptors(self.described), list(self.choices)
            config, self.config = self.config, with_pointers(self.config)
            other = self._emit_kernels(f"{suffix}_unaligned", root, graphs)
            self.config, self.described, self.choices = config, [], choices
            code = either(check, code, other)
        self.launches[root.graph_id] = code

    def _emit_kernels(
        self, suffix: str, root: Any, graphs: dict[int, Any]
    ) -> list[ast.stmt]:
        """Emit the kernel of a launch, or its halves; return what launches it."""
        name = f"_helion_{self.host.name}{suffix}"
        partials = self._partials_of(root.graph_id, f"_partials{suffix}")
        if partials is None:
            return self._emit_kernel(name, root, graphs)
        return self._emit_halves(name, graphs, partials)

    def _emit_halves(
        self, name: str, graphs: dict[int, Any], partials: Partials
    ) -> list[ast.stmt]:
        """Emit the kernels of a split launch; return the code that launches them."""
        halves, device = partials.halves, ast.unparse(expr(self.device_text()))
        first_name = name if partials.is_joint else f"{name}_partial"
        first = self._emit_kernel(first_name, halves.first, graphs, partials)
        code = [*first[:-1], *partials.host_code(device), first[-1]]
        if partials.is_joint:
            return code
        second = self._emit_kernel(name, halves.second, graphs, partials)
        known = {ast.unparse(statement) for statement in code}
        return [*code, *(s for s in second if ast.unparse(s) not in known)]

    def _free_prefix(self, prefix: str) -> str:
        """Return a beginning of names that no name of the host function has."""
        names = self.host.local_names | set(self.host.params)
        while any(name.startswith(prefix) for name in names):
            prefix = f"_{prefix}"
        return prefix

    def _partials_of(self, root_id: int, prefix: str) -> Partials | None:
        """Return what the halves of a launch share, None if it is not split."""
        halves, splits = self._split_of(root_id)
        if halves is None:
            return None
        mode = self.config.split_mode
        if mode == "stream" and halves.loop_id not in self.ir.loop_splits:
            mode = "semaphore"  # a reduction has as many splits as the Config says
        return PARTIALS[mode](halves, splits, self._free_prefix(prefix))

    def _split_of(self, root_id: int) -> tuple[SplitLaunch | None, int]:
        """Return the halves of a launch that the Config splits, and in how many."""
        spec, rolled = self.env.config_spec, self.ir.rolled_reductions
        if not self.ir.are_apart(self.rolled):
            return None, 1
        pairs = zip(spec.split_reductions, self.config.reduction_splits, strict=True)
        for entry, splits in pairs:
            if splits > 1 and entry.block_id in self.rolled:
                found = rolled[entry.block_id].splits.get(root_id)
                if found is not None:
                    return found, splits
        if any(root_id in rolled[block].graphs for block in self.rolled):
            return None, 1  # the halves are of the graph in which nothing is rolled
        pairs = zip(spec.split_loops, self.config.loop_splits, strict=True)
        for entry, splits in pairs:
            if splits > 1 and entry.root_id == root_id:
                return self.ir.loop_splits[entry.loop_id], splits
        return None, 1

    def _emit_kernel(
        self,
        name: str,
        root: RootGraphInfo,
        graphs: dict[int, Any],
        partials: Partials | None = None,
    ) -> list[ast.stmt]:
        """Emit a kernel; return its launch, preceded by the values that it needs."""
        values = block_values(self.env, self.config)
        fn = DeviceFunction(self.env, self.config, name, graphs, values)
        fn.helpers, fn.partials, fn.root = self.helpers, partials, root
        grid = self._emit_body(fn, root)
        body = eliminate_dead_code([*fn.preamble, *fn.body])
        if not body:
            raise exc.EmptyDeviceLoopAfterDCE().with_location(root.location)
        params = self._used_params(fn, body)
        body = self.ir.overlap.around(body, self.config)
        self.kernels.append(self._kernel_def(fn, body, params))
        self.described += fn.indexed.described
        self.choices += fn.indexed.choices
        options = ", debug=True" if any(map(has_assert, body)) else ""
        return self._launch_code(fn, grid, params, options)

    def _emit_body(self, fn: DeviceFunction, root: RootGraphInfo) -> str:
        steps = root.steps or [None] * len(root.block_ids)
        dims = [
            LoopDim(block, begin, end, step)
            for block, (begin, end), step in zip(
                root.block_ids, root.bounds, steps, strict=True
            )
        ]
        strategy = tile_strategy(fn, dims)
        pids = program_ids(fn, strategy)
        partials = fn.partials
        if partials is not None:
            pids = partials.program_ids(pids, root)

        def body() -> None:
            strategy.codegen_grid()
            fn.interpret(root, [])
            if partials is not None:
                partials.emit_rest(fn)

        pids.emit(body)
        return pids.grid_text()

    def _used_params(self, fn: DeviceFunction, body: list[ast.stmt]) -> list[Any]:
        used = set().union(*[read_names(s) for s in body])
        every = [*fn.args.values(), *fn.constexprs.values()]
        return [arg for arg in every if arg.name in used]

    def _kernel_def(
        self, fn: DeviceFunction, body: list[ast.stmt], params: list[Any]
    ) -> ast.FunctionDef:
        items = [p.name + (": tl.constexpr" if p.is_constexpr else "") for p in params]
        (kernel,) = statements(
            f"@triton.jit\ndef {fn.name}({', '.join(items)}):\n    pass"
        )
        assert isinstance(kernel, ast.FunctionDef)
        kernel.body = body
        return kernel

    def _launch_code(
        self, fn: DeviceFunction, grid: str, params: list[Any], extra: str
    ) -> list[ast.stmt]:
        code: list[ast.stmt] = []
        needed = {a.name: a for a in fn.constexprs.values()}
        names = {p.name for p in params} | read_names(expr(grid))
        for name, arg in needed.items():
            if name in names and arg.host != name:
                code.append(assign(name, expr(arg.host)))
            elif name in names:
                code.append(assign(name, self._host_block(fn, name)))
        seeds = [p.host for p in params if p.host.startswith(SEED_PREFIX)]
        for seed in sorted(seeds, key=lambda host: int(host[len(SEED_PREFIX) :])):
            code.append(assign(seed, expr("_draw_seed()")))
        args = ", ".join(p.name if p.is_constexpr else p.host for p in params)
        options = launch_options(self.config, self.ir.overlap)
        code += statements(f"_launcher({fn.name}, {grid}, {args}, {options}{extra})")
        return code

    def _host_block(self, fn: DeviceFunction, name: str) -> ast.expr:
        """Return host code of a block size that a host expression computes."""
        block = int(name.rpartition("_")[2])
        return expr(fn.host_text(symbols.sym_expr(fn.block_values[block])))

    # -- the wrapper's values --------------------------------------------------------

    def replacement(self, origin: Origin) -> ast.expr:
        """Return the number that stands for a registered block size or tunable."""
        if isinstance(origin, BlockSizeOrigin):
            return expr(repr(block_values(self.env, self.config)[origin.block_id]))
        assert isinstance(origin, TunableOrigin)
        return expr(repr(self.config[origin.name]))

    def device_text(self) -> str:
        """Return host code of the kernel's device."""
        return self.env.device_text

    # -- imports ---------------------------------------------------------------------

    def _imports(self, body: list[ast.stmt]) -> list[ast.stmt]:
        used = set().union(*[read_names(s) for s in body])
        result: list[ast.stmt] = []
        table = self.env.backend.imports
        known = {n for n in table if n in used}
        for name in [n for n in table if n in known]:
            result += ast.parse(table[name]).body
        for name, value in sorted(self._global_modules(used - known).items()):
            result += ast.parse(f"import {value.__name__} as {name}").body
        if "_source_module" in used:
            module = self.host.fn.__module__
            result += ast.parse(f"import {module} as _source_module").body
        return result

    def _global_modules(self, used: set[str]) -> dict[str, types.ModuleType]:
        namespace = self.host.namespace
        found = {n: namespace.get(n) for n in used if n not in self.host.local_names}
        return {
            n: v
            for n, v in found.items()
            if isinstance(v, types.ModuleType) and n not in self.host.params
        }


class _HostWriter(ast.NodeTransformer):
    """Rewrites the user's function into the wrapper that launches the kernels."""

    def __init__(self, builder: ModuleBuilder) -> None:
        self.builder = builder
        self.host = builder.host
        self.local = set(self.host.params) | self.host.local_names

    def wrapper(self) -> ast.FunctionDef:
        """Return the wrapper's definition."""
        source = self.host.tree
        result = self._header(source)
        result.body = [*self._saved_arguments(), *self._block(source.body)]
        return result

    def _header(self, source: ast.FunctionDef) -> ast.FunctionDef:
        """Return a function of the parameters without annotations, and the launcher."""
        extra = "*, _launcher=_default_launcher"
        if self.host.closure:
            extra += ", _closure"
        (function,) = statements(
            f"def {source.name}({', '.join([*self.host.params, extra])}): pass"
        )
        assert isinstance(function, ast.FunctionDef)
        if all(isinstance(d, ast.Constant) for d in source.args.defaults):
            function.args.defaults = list(source.args.defaults)
        return function

    def _saved_arguments(self) -> list[ast.stmt]:
        """Keep parameters that the body rebinds but whose sizes kernels need."""
        rebound = [p for p in self.host.params if p in self.host.local_names]
        return [
            assign(saved_name(p), expr(p))
            for p in rebound
            if any(
                saved_name(p) in read_names(statement)
                for code in self.builder.launches.values()
                for statement in code
            )
        ]

    def _block(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            visited = self.visit(statement)
            result += visited if isinstance(visited, list) else [visited]
        return result

    def generic_visit(self, node: ast.AST) -> ast.AST:
        clone = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                items: list[Any] = []
                for item in value:
                    visited = self.visit(item) if isinstance(item, ast.AST) else item
                    items += visited if isinstance(visited, list) else [visited]
                setattr(clone, name, items)
            elif isinstance(value, ast.AST):
                setattr(clone, name, self.visit(value))
        return clone

    def visit_Expr(self, node: ast.Expr) -> Any:
        is_docstring = isinstance(node.value, ast.Constant)
        return [] if is_docstring else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return []
        value = self.visit(node.value)
        target = self.visit(node.target)
        return ast.Assign(targets=[target], value=value, lineno=0, col_offset=0)

    def visit_For(self, node: ast.For) -> Any:
        known = facts(node)
        if known.is_flat:
            return self._block([*node.body, *node.orelse])
        if known.launch_ids:
            return self._launch(node, known.launch_ids[-1])
        if self._was_dead_launch(node):
            return statements(
                "raise AssertionError('a branch was taken that compiling ruled out')"
            )
        return self.generic_visit(node)

    def _launch(self, node: ast.For, root_id: int) -> list[ast.stmt]:
        return copy.deepcopy(self.builder.launches[root_id])

    def _was_dead_launch(self, node: ast.For) -> bool:
        """A tile loop on a branch that is never taken has no kernel."""
        if facts(node).loop_type is not None or not isinstance(node.iter, ast.Call):
            return False
        return ast.unparse(node.iter.func).endswith((".tile", ".grid"))

    def visit_Call(self, node: ast.Call) -> Any:
        known = facts(node)
        if known.replacement is not None:
            return self.builder.replacement(known.replacement)
        result = self.generic_visit(node)
        assert isinstance(result, ast.Call)
        if known.needs_device:
            device = expr(self.builder.device_text())
            result.keywords = [*result.keywords, ast.keyword("device", device)]
        return result

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = node.id
        if not isinstance(node.ctx, ast.Load) or name in self.local:
            return ast.Name(id=name, ctx=node.ctx)
        if name in self.host.closure:
            return expr(f"_closure[{name!r}]")
        value = self.host.namespace.get(name, _MISSING)
        if value is _MISSING or isinstance(value, types.ModuleType):
            return ast.Name(id=name, ctx=node.ctx)
        if hasattr(builtins, name) and value is getattr(builtins, name):
            return ast.Name(id=name, ctx=node.ctx)
        return expr(f"_source_module.{name}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        inner = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
        inner |= {
            n.id
            for n in ast.walk(node)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        return self._scoped(node, inner)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._scoped(
            node, {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
        )

    def _comprehension(self, node: ast.AST) -> ast.AST:
        inner = {
            n.id
            for n in ast.walk(node)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        return self._scoped(node, inner)

    visit_ListComp = visit_SetComp = visit_DictComp = _comprehension
    visit_GeneratorExp = _comprehension

    def _scoped(self, node: ast.AST, names: set[str]) -> ast.AST:
        outer, self.local = self.local, self.local | names
        try:
            return self.generic_visit(node)
        finally:
            self.local = outer


_MISSING = object()


def _spaced(text: str) -> str:
    """Put blank lines before definitions."""
    lines: list[str] = []
    for line in text.splitlines():
        starts = line.startswith(("@", "def ")) and not (
            lines and lines[-1].startswith("@")
        )
        while starts and lines and not lines[-1]:
            lines.pop()
        if starts and lines:
            lines += ["", ""]
        lines.append(line)
    return "\n".join(lines) + "\n"
