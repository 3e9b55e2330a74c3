"""The ways that numerics tests run a kernel on this machine."""

from __future__ import annotations

import pytest

WAYS = (
    "plain",
    "eager",
    "interpreted",
    pytest.param("compiled", marks=pytest.mark.gpu),
)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Return one of the ways of ``test.harness.WAYS``; each test runs in all."""
    return request.param
