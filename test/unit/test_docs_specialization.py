"""What docs/specialization.md shows is true, and it warns of what surprises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

PAGE = Path(__file__).resolve().parents[2] / "docs" / "specialization.md"


def code_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_the_code_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "specialization_page.py"
    path.write_text("\n".join(code_blocks()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)  # its asserts are the test
    assert capsys.readouterr().err == ""
    x = torch.randn(5, 12)
    assert_close(page.row_means(x), x.mean(-1))
    assert_close(page.add_one(x), x + 1)


def test_the_page_has_code():
    assert len(code_blocks()) >= 5


@pytest.mark.parametrize(
    "warning",
    ["`type(n) == int` is false", "isinstance(n, int)", "Equal numbers conflict"],
)
def test_the_page_warns(warning):
    assert warning in PAGE.read_text()
