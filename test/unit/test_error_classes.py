"""User code raises every class of ``helion.exc``: with its line, the rule and a fix."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

from helion import exc
from test.harness import fake_cuda
from test.unit import error_triggers as triggers
from test.unit import faults

ROOT = Path(__file__).resolve().parent.parent.parent
RAISED = (triggers.ON_DEVICE, triggers.ON_HOST, triggers.BY_CALL)
WARNED = (triggers.WARNED_ON_DEVICE, triggers.WARNED_ON_HOST)
GIVEN = faults.PARAMS + ", bad: hl.constexpr"
# Refused wherever it stands in the text, be it never reached.
BY_TEXT = {"NamingConflict", "CannotModifyHostVariableOnDevice"}


def is_complete(error: exc.Base) -> bool:
    """Whether a message tells the rule and the fix."""
    rule, _, fix = error.message.partition("\nhint: ")
    return len(rule) > 10 and len(fix) > 10


def test_every_class_is_raised_or_told_why_not():
    tables = (*RAISED, *WARNED, triggers.WORKING, triggers.LATER)
    tables = (*tables, triggers.ELSEWHERE)
    listed = [name for table in tables for name in table]
    assert sorted(listed) == sorted(triggers.classes())


@pytest.mark.parametrize("name", triggers.ELSEWHERE)
def test_the_feature_tests_its_class(name):
    assert name in (ROOT / triggers.ELSEWHERE[name]).read_text()


@pytest.mark.parametrize("name", triggers.ON_DEVICE)
def test_device_code_raises(name):
    text = faults.device_text(triggers.ON_DEVICE[name])
    found = faults.fault(text, names=triggers.NAMES)
    assert type(found).__name__ == name
    assert is_complete(found), found.message


@pytest.mark.parametrize("name", triggers.ON_HOST)
def test_host_code_raises(name):
    text = faults.host_text(triggers.ON_HOST[name])
    found = faults.fault(text, names=triggers.NAMES)
    assert type(found).__name__ == name
    assert is_complete(found), found.message


@pytest.mark.parametrize("name", triggers.BY_CALL)
def test_a_program_raises(name):
    with pytest.raises(exc.Base) as caught:
        triggers.BY_CALL[name]()
    assert type(caught.value).__name__ == name
    assert is_complete(caught.value), caught.value.message


@pytest.mark.parametrize("name", triggers.WARNED_ON_DEVICE | triggers.WARNED_ON_HOST)
def test_compiling_warns(name, capsys):
    is_host = name in triggers.WARNED_ON_HOST
    make = faults.host_text if is_host else faults.device_text
    text = make(WARNED[is_host][name])
    faults.compile_text(text)
    printed = capsys.readouterr().err
    (line,) = [line for line in text.splitlines() if faults.MARK in line]
    assert printed.startswith(f"WARNING[{name}]: ")
    assert "\nhint: " in printed and line.strip() in printed
    faults.compile_text(text, ignore_warnings=[getattr(exc, name)])
    assert name not in capsys.readouterr().err


def guarded(lines: str) -> str:
    """Return lines that are only there for kernels with ``bad`` true."""
    return "if bad:\n" + textwrap.indent(faults.marked(lines), "    ")


def check_recovery(text: str, name: str) -> None:
    """Check that a kernel whose bind failed works for other arguments."""
    kernel = faults.kernel_from(text, triggers.NAMES)
    x, y, z, n = faults.arguments()
    texts = []
    for _ in range(2):
        with pytest.raises(exc.Base) as caught:
            kernel.bind(fake_cuda((x, y, z, n, True))).to_triton_code()
        assert name in [type(caught.value).__name__]
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    good = kernel.bind(fake_cuda((x, y, z, n, False))).to_triton_code()
    assert "@triton.jit" in good
    assert torch.equal(kernel(x, y, z, n, False), x)


@pytest.mark.parametrize("name", sorted(triggers.ON_DEVICE.keys() - BY_TEXT))
def test_a_kernel_is_usable_after_a_failure_on_device(name):
    lines = guarded(triggers.ON_DEVICE[name])
    check_recovery(faults.device_text(lines, GIVEN), name)


@pytest.mark.parametrize("name", sorted(triggers.ON_HOST.keys() - BY_TEXT))
def test_a_kernel_is_usable_after_a_failure_on_host(name):
    lines = guarded(triggers.ON_HOST[name])
    check_recovery(faults.host_text(lines, GIVEN), name)


@pytest.mark.parametrize("name", triggers.BY_CALL)
def test_other_kernels_are_usable_after_a_failed_program(name):
    with pytest.raises(exc.Base):
        triggers.BY_CALL[name]()
    x = torch.randn(9)
    assert torch.equal(triggers.add_one(x), x + 1)
