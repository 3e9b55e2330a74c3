"""The shape of the code: imports point down the layers, and budgets are kept."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# First match wins; the numbers are the layers of CONTRIBUTING.md.
LAYERS = (
    ("helion.exc", 0),
    ("helion._compat", 0),
    ("helion._error_report", 0),
    ("helion._logging", 0),
    ("helion._math", 0),
    ("helion._metrics", 0),
    ("helion.runtime.config", 1),
    ("helion.runtime.settings", 1),
    ("helion.runtime.tensor_trees", 1),
    ("helion.autotuner.config_*", 1),
    ("helion._compiler.source_location", 2),
    ("helion._compiler.ast_extension", 2),
    ("helion._compiler.variable_origin", 2),
    ("helion._compiler.symbols", 2),
    ("helion._compiler.op_registry", 2),
    ("helion._compiler.backend", 2),
    ("helion._compiler.codegen_state", 2),
    ("helion._compiler.compile_environment", 2),
    ("helion._compiler.derived_dims", 2),
    ("helion._compiler.host_function", 2),
    ("helion._compiler.type_info", 2),
    ("helion._compiler.fake_arguments", 2),
    ("helion._compiler.error_text", 2),
    ("helion._compiler.node_args", 2),
    ("helion._compiler.provenance", 2),
    ("helion._compiler.specialized_symbols", 2),
    ("helion._compiler.specialized_value", 2),
    ("helion.language", 3),
    ("helion.language.*", 3),
    ("helion._compiler.triton", 5),
    ("helion._compiler.triton.*", 5),
    ("helion._compiler", 4),
    ("helion._compiler.*", 4),
    ("helion.autotune", 6),
    ("helion.autotuner", 6),
    ("helion.autotuner.*", 6),
    ("helion._testing", 7),
    ("helion.runtime", 7),
    ("helion.runtime.*", 7),
    ("helion", 7),
)

# (importer, imported package): imports inside functions that may point up, and why.
LATE_IMPORTS = {
    (
        "helion.runtime.settings",
        "helion.autotuner",
    ): "the tuner is found when asked for",
}

FILE_LINES, FILE_LINES_AIM = 800, 500
FUNCTION_LINES, FUNCTION_LINES_AIM = 80, 40
CLASS_LINES = 400
NESTING = 4
WIDTH = 88

HEAVY_MODULES = ("sympy", "triton", "torch._inductor")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try)


@dataclass(frozen=True)
class Import:
    """One imported module; ``name`` is None for ``import module``."""

    module: str
    name: str | None
    lineno: int
    in_function: bool


class Codebase:
    """The parsed modules of one package below ``root``."""

    def __init__(self, root: Path, package: str = "helion") -> None:
        self.root = root
        self.paths = {
            self.module_name(path): path
            for path in sorted((root / package).rglob("*.py"))
        }
        self.trees = {
            name: ast.parse(path.read_text(), str(path))
            for name, path in self.paths.items()
        }

    def module_name(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self, module: str) -> Iterator[Import]:
        """Yield what ``module`` imports at run time, as absolute names."""
        yield from self._imports_in(self.trees[module].body, module, in_function=False)

    def _imports_in(
        self, body: list[ast.stmt], module: str, in_function: bool
    ) -> Iterator[Import]:
        for node in body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, None, node.lineno, in_function)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield self._import_from(node, alias.name, module, in_function)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from self._imports_in(node.orelse, module, in_function)
            else:
                inside = in_function or isinstance(node, FUNCTIONS)
                for inner in inner_bodies(node):
                    yield from self._imports_in(inner, module, inside)

    def _import_from(
        self, node: ast.ImportFrom, name: str, module: str, in_function: bool
    ) -> Import:
        base = node.module or ""
        if node.level:
            is_package = self.paths[module].name == "__init__.py"
            parts = module.split(".")
            kept = parts[: len(parts) - node.level + is_package]
            base = ".".join([*kept, base] if base else kept)
        if f"{base}.{name}" in self.trees:
            return Import(f"{base}.{name}", None, node.lineno, in_function)
        return Import(base, name, node.lineno, in_function)

    def home_of(self, module: str, name: str) -> str | None:
        """Return where ``module`` itself imports ``name`` from, if it does so."""
        for node in self.trees[module].body:
            if isinstance(node, ast.ImportFrom):
                if name in (alias.asname or alias.name for alias in node.names):
                    return self._import_from(node, name, module, False).module
        return None


def inner_bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the statement lists directly inside ``node``."""
    for field in ("body", "orelse", "finalbody"):
        if isinstance(value := getattr(node, field, None), list):
            yield value
    for child in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
        yield child.body


def layer_of(module: str) -> int:
    """Return the layer number of a module of the package."""
    for pattern, layer in LAYERS:
        if fnmatchcase(module, pattern):
            return layer
    raise AssertionError(f"{module} has no layer: add it to LAYERS")


def may_import_late(module: str, target: str) -> bool:
    """Say whether an exception lets ``module`` import ``target`` in a function."""
    return any(
        module == importer and f"{target}.".startswith(f"{package}.")
        for importer, package in LATE_IMPORTS
    )


def layer_problems(code: Codebase) -> list[str]:
    """List imports that point up, or that do not name the defining module."""
    problems = []
    for module in code.trees:
        layer = layer_of(module)
        for item in code.imports(module):
            if item.module not in code.trees:
                continue
            where = f"{code.paths[module]}:{item.lineno}: {module} (layer {layer})"
            upper = layer_of(item.module)
            late = item.in_function and may_import_late(module, item.module)
            if upper > layer and not late:
                problems.append(f"{where} imports {item.module} (layer {upper})")
            home = code.home_of(item.module, item.name) if item.name else None
            if home in code.trees:
                problems.append(
                    f"{where} imports {item.name} from a place other "
                    f"than {home}, which defines it"
                )
    return problems


def length_of(node: ast.stmt) -> int:
    """Return how many lines a definition takes, without its decorators."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def nesting_of(body: list[ast.stmt]) -> int:
    """Return how deep blocks stand in blocks; an ``elif`` is no deeper than its if."""
    deepest = 0
    for node in body:
        if not isinstance(node, BLOCKS):
            continue
        for inner in inner_bodies(node):
            chained = isinstance(node, ast.If) and is_elif(inner, node)
            deepest = max(deepest, nesting_of(inner) + (0 if chained else 1))
    return deepest


def is_elif(body: list[ast.stmt], parent: ast.If) -> bool:
    """Say whether ``body`` is the else part of ``parent`` and one ``if`` alone."""
    return body is parent.orelse and len(body) == 1 and isinstance(body[0], ast.If)


def budget_problems(path: Path) -> tuple[list[str], list[str]]:
    """Return what breaks a hard budget in one file, and what only misses an aim."""
    text = path.read_text()
    broken, missed = [], []

    def judge(what: str, lineno: int, size: int, limit: int, aim: int) -> None:
        if size > limit:
            broken.append(f"{path}:{lineno}: {what} is {size}, the limit is {limit}")
        elif size > aim:
            missed.append(f"{path}:{lineno}: {what} is {size}, the aim is {aim}")

    judge("lines of file", 1, text.count("\n"), FILE_LINES, FILE_LINES_AIM)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
            line, size = node.lineno, length_of(node)
            judge(
                f"lines of {node.name}", line, size, FUNCTION_LINES, FUNCTION_LINES_AIM
            )
            depth = nesting_of(node.body)
            judge(f"nesting of {node.name}", line, depth, NESTING, NESTING)
        elif isinstance(node, ast.ClassDef):
            size = length_of(node)
            judge(f"lines of {node.name}", node.lineno, size, CLASS_LINES, CLASS_LINES)
    return broken + width_problems(path), missed


def width_problems(path: Path) -> list[str]:
    """List the lines of a file that are too wide."""
    return [
        f"{path}:{number}: line of {len(line)} columns, the limit is {WIDTH}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > WIDTH
    ]


def python_files(*folders: str) -> list[Path]:
    """Return the Python files of some folders of the project."""
    return [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def assert_none(problems: list[str]) -> None:
    """Fail with every problem, one a line."""
    assert not problems, "\n".join(["", *problems])


def test_imports_point_down_the_layers() -> None:
    assert_none(layer_problems(Codebase(ROOT)))


def test_code_keeps_its_budgets() -> None:
    broken, missed = [], []
    for path in python_files("helion", "scripts", "benchmarks"):
        worse, soft = budget_problems(path)
        broken += worse
        missed += soft
    for line in missed:
        warnings.warn(line, stacklevel=1)
    assert_none(broken)


def test_tests_and_examples_keep_the_line_width() -> None:
    problems = []
    for path in python_files("test", "examples"):
        problems += width_problems(path)
    assert_none(problems)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path)
        for path in python_files("helion", "scripts", "benchmarks", "examples", "test")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert_none(silent)


def test_import_helion_stays_light() -> None:
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        "import helion; import helion.language as hl; helion.kernel\n"
        f"print(*[m for m in {HEAVY_MODULES} if m in set(sys.modules) - before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


# The checks themselves are checked on a package that breaks them.


def make_package(root: Path, files: dict[str, str]) -> Codebase:
    """Write a package named helion below ``root`` and parse it."""
    for name, text in files.items():
        path = root / "helion" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Codebase(root)


TARGETS = {
    "__init__.py": "",
    "exc.py": "class Base: ...\n",
    "runtime/kernel.py": "from helion.exc import Base\n",
    "autotuner/base_search.py": "",
}


@pytest.mark.parametrize(
    ("importer", "text", "expected"),
    [
        ("exc.py", "import helion.runtime.kernel", "layer 7"),
        ("exc.py", "def f():\n    from helion.runtime import kernel", "layer 7"),
        ("_compiler/x.py", "from ..runtime import kernel", "layer 7"),
        ("runtime/a.py", "from helion.runtime.kernel import Base", "helion.exc"),
        ("runtime/settings.py", "from helion.autotuner import base_search", "layer 6"),
    ],
)
def test_layer_check_finds(
    tmp_path: Path, importer: str, text: str, expected: str
) -> None:
    code = make_package(tmp_path, {**TARGETS, importer: text})
    (problem,) = layer_problems(code)
    assert expected in problem


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("runtime/a.py", "from helion.exc import Base"),
        (
            "exc.py",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from helion.runtime import kernel",
        ),
        (
            "runtime/settings.py",
            "def f():\n    from helion.autotuner import base_search",
        ),
    ],
)
def test_layer_check_lets_pass(tmp_path: Path, importer: str, text: str) -> None:
    assert layer_problems(make_package(tmp_path, {**TARGETS, importer: text})) == []


def nested_ifs(depth: int) -> str:
    """Return a function with ``depth`` ifs inside each other."""
    lines = [f"{'    ' * (i + 1)}if x > {i}:" for i in range(depth)]
    return "\n".join(["def f(x):", *lines, "    " * (depth + 1) + "return 1"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n" * 801, "lines of file is 801"),
        ("def f():\n" + "    x = 1\n" * 80, "lines of f is 81"),
        ("class C:\n" + "    x = 1\n" * 400, "lines of C is 401"),
        (nested_ifs(5), "nesting of f is 5"),
        ("x = '" + "y" * 100 + "'\n", "line of 106 columns"),
    ],
)
def test_budget_check_finds(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    (problem,), _ = budget_problems(path)
    assert expected in problem


def test_budget_check_reports_missed_aims(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * 501 + nested_ifs(4))
    broken, missed = budget_problems(path)
    assert broken == []
    assert "the aim is 500" in missed[0]


def test_elif_is_no_deeper_than_its_if() -> None:
    chain = "if a: b\n" + "elif c: d\n" * 6
    assert nesting_of(ast.parse(chain).body) == 1
