"""Check docs/requirements.md: every test that a row names exists."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "requirements.md"
ROW = re.compile(r"^\| ([A-Z]+-\d+) \| (.*) \| (.*) \|$")
# A node id: test/unit/test_x.py::TestClass::test_name, without parameters.
NODE = re.compile(r"`(test/[\w/]+\.py(?:::\w+)*)(?:\[[^`]*\])?`")
OPEN = ("missing:", "later:")


def node_exists(node: str) -> bool:
    """Say whether a file, class or test of the project has this node id."""
    name, *parts = node.split("::")
    path = ROOT / name
    if not path.exists():
        return False
    scope: ast.Module | ast.ClassDef | ast.FunctionDef = ast.parse(path.read_text())
    for part in parts:
        inner = next(
            (
                child
                for child in scope.body
                if isinstance(child, (ast.ClassDef, ast.FunctionDef))
                and child.name == part
            ),
            None,
        )
        if inner is None:
            return False
        scope = inner
    return True


def row_problem(identity: str, proof: str) -> str | None:
    """Say what is wrong with the last cell of one row, None if nothing is."""
    nodes = NODE.findall(proof)
    gone = [node for node in nodes if not node_exists(node)]
    if gone:
        return f"{identity}: no such test: {', '.join(gone)}"
    if not nodes and not proof.startswith(OPEN):
        return f"{identity}: names no test and does not start with {' or '.join(OPEN)}"
    return None


def main() -> int:
    """Print the problems and the state of the table; return 0 if there is none."""
    rows = [
        m.groups() for line in TABLE.read_text().splitlines() if (m := ROW.match(line))
    ]
    counts = Counter(identity for identity, _, _ in rows)
    problems = [f"{identity}: {n} rows" for identity, n in counts.items() if n > 1]
    problems += [
        p for identity, _, proof in rows if (p := row_problem(identity, proof))
    ]
    state = Counter(
        next((word.rstrip(":") for word in OPEN if proof.startswith(word)), "shown")
        for _, _, proof in rows
    )
    for problem in problems:
        print(problem)
    print(f"{len(rows)} requirements: {dict(state)}")
    return int(bool(problems) or not rows)


if __name__ == "__main__":
    sys.exit(main())
