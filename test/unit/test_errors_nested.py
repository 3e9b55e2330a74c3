"""What nested tensors cannot be or do, and what their users are told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import nested_kernels
from test.unit import faults

ROWS = [torch.ones(3, 4), torch.ones(2, 4)]


def nested(**options: Any) -> torch.Tensor:
    return torch.nested.nested_tensor(ROWS, layout=torch.jagged, **options)


@helion.kernel
def sum_of_list(parts: list[torch.Tensor]) -> torch.Tensor:
    out = torch.empty_like(parts[0])
    for tile in hl.tile(out.size()):
        out[tile] = parts[0][tile]
    return out


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_strided_layout_is_refused() -> None:
    old = torch.nested.nested_tensor(ROWS)
    with pytest.raises(exc.KernelArgumentError, match=r"'x'.*strided") as caught:
        nested_kernels.softmax_of_columns(old)
    assert "layout=torch.jagged" in str(caught.value)


def test_nested_tensor_in_a_list_is_refused() -> None:
    with pytest.raises(exc.KernelArgumentError, match="argument of its own"):
        sum_of_list([nested()])


def test_gradients_are_refused_not_lost() -> None:
    x = nested(requires_grad=True)
    with pytest.raises(exc.AutodiffNotSupported, match="nested tensor"):
        nested_kernels.softmax_of_columns(x)
    with torch.no_grad():
        assert nested_kernels.softmax_of_columns(x).is_nested


HOST = [
    "y = x * 2",
    "y = x.transpose(1, 2)",
    "y = torch.cat([x, x])",
    "y = x[0]",
    "y = x.sum()",
    "y = x.contiguous()",
]


def text_of(lines: str) -> str:
    return (
        f"def k(x):\n    {lines}\n    out = torch.empty_like(x)\n"
        "    for t in hl.tile(x.size()):\n        out[t] = x[t]\n    return out\n"
    )


@pytest.mark.parametrize("lines", HOST)
def test_work_on_the_host_is_refused_when_compiling(lines: str) -> None:
    kernel = faults.kernel_from(text_of(f"{lines}  #!"))
    with pytest.raises(exc.InvalidAPIUsage, match="outside the tile loops") as caught:
        kernel.bind((nested(),)).to_triton_code()
    faults.check_report(caught.value, text_of(f"{lines}  #!"))


@pytest.mark.parametrize("lines", HOST)
def test_work_on_the_host_is_refused_in_eager_mode(lines: str) -> None:
    kernel = faults.kernel_from(text_of(lines), ref_mode=helion.RefMode.EAGER)
    with pytest.raises(exc.InvalidAPIUsage, match="outside the tile loops"):
        kernel(nested())
    assert kernel(torch.ones(2, 3, 4)).shape == (2, 3, 4) or lines


DEVICE = [
    (exc.RankMismatch, "out[t] = x[t, 0].sum(0)"),
    (exc.InvalidIndexingType, "out[t] = x[t, 1:3, 0].sum(1)"),
    (exc.InvalidIndexingType, "out[t] = x[t, t.index[:, None], 0].sum(1)"),
    (exc.HostTensorDirectUsage, "out[t] = x + 1"),
]


@pytest.mark.parametrize("kind, lines", DEVICE, ids=[d[1] for d in DEVICE])
def test_subscripts_that_cannot_be(kind: type[exc.Base], lines: str) -> None:
    text = (
        "def k(x):\n    out = torch.empty([x.size(0)], device=x.device)\n"
        f"    for t in hl.tile(x.size(0)):\n        {lines}  #!\n    return out\n"
    )
    kernel = faults.kernel_from(text)
    with pytest.raises(exc.Base) as caught:
        kernel.bind((nested(),)).to_triton_code()
    faults.check_report(caught.value, text)


def test_loop_along_the_rows_needs_one_over_them() -> None:
    text = (
        "def k(x):\n    out = torch.empty_like(x)\n"
        "    for m in hl.tile(x.size(1)):\n        for b in hl.tile(x.size(0)):\n"
        "            out[b, m, :] = x[b, m, :]\n    return out\n"
    )
    kernel = faults.kernel_from(text, ref_mode=helion.RefMode.EAGER)
    with pytest.raises(exc.InvalidAPIUsage, match="no loop over the rows"):
        kernel(nested())


def test_kernel_is_usable_after_an_error() -> None:
    kernel = helion.kernel(nested_kernels.softmax_of_columns.fn)
    with pytest.raises(exc.AutodiffNotSupported):
        kernel(nested(requires_grad=True))
    assert kernel(nested()).is_nested
    assert not kernel(torch.ones(2, 3, 4)).is_nested
