"""Every block of code in docs/language.md runs, eagerly and as interpreted Triton."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import helion
import helion.language as hl
from helion import exc
from test import interpreter_worker

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "language.md").read_text()
FENCE = re.compile(r"^```python(?: (\w+)=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
PREAMBLE = "import torch\nimport helion\nimport helion.language as hl\n"


@dataclass(frozen=True)
class Block:
    """A block of code: its name, its text, and what its fence says of it."""

    name: str
    text: str
    error: str | None
    way: str | None


def _blocks() -> list[Block]:
    found: list[Block] = []
    for number, match in enumerate(FENCE.finditer(PAGE)):
        headings = HEADING.findall(PAGE[: match.start()])
        key, value, text = match.groups()
        facts = {"error": None, "way": None, **({key: value} if key else {})}
        name = f"{number}-{headings[-1].lower().replace(' ', '_')}"
        found.append(Block(name, text, **facts))
    return found


BLOCKS = _blocks()


def run_block(name: str, text: str) -> None:
    """Import a block as a module; kernels need a file to read their source from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"block_{name.replace('-', '_')}.py"
        path.write_text(PREAMBLE + text)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[path.stem]


def run_wrong_block(name: str, text: str, error: str) -> None:
    """Run a block that must raise the error, with a line and a fix."""
    with pytest.raises(getattr(exc, error)) as caught:
        run_block(name, text)
    assert type(caught.value).__name__ == error
    assert "hint: " in str(caught.value)
    assert "While processing:" in str(caught.value)


WORKING = [block for block in BLOCKS if block.error is None]
REFUSED = [block for block in BLOCKS if block.error is not None]


@pytest.mark.parametrize(
    "block", [b for b in WORKING if b.way is None], ids=lambda block: block.name
)
def test_block_runs_eagerly(block: Block) -> None:
    run_block(block.name, block.text)


@pytest.mark.parametrize("block", WORKING, ids=lambda block: block.name)
def test_block_runs_as_interpreted_triton(block: Block) -> None:
    interpreter_worker.call(run_block, (block.name, block.text))


@pytest.mark.parametrize("block", REFUSED, ids=lambda block: block.name)
def test_block_is_refused(block: Block) -> None:
    args = (block.name, block.text, block.error)
    interpreter_worker.call(run_wrong_block, args)


def test_page_names_what_exists() -> None:
    names = set(re.findall(r"\bhl\.(\w+)", PAGE))
    assert names <= set(hl.__all__), names - set(hl.__all__)
    settings = set(re.findall(r"`(\w+)=", PAGE)) & {"static_shapes", "ref_mode"}
    assert settings <= helion.Settings().to_dict().keys()


def test_every_public_name_stands_on_the_page() -> None:
    missing = [name for name in hl.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert not missing, missing
