"""Options, markers and fixtures that all tests share."""

from __future__ import annotations

import logging
import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDENS = Path(__file__).parent / "goldens"
BUILD = Path(__file__).parent.parent / "build"

# Compiled kernels of test runs stay out of the user's own caches, and are found
# again by the next run. An explicit choice in the environment wins.
os.environ.setdefault("TRITON_CACHE_DIR", str(BUILD / "test-cache" / "triton"))
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(BUILD / "test-cache" / "inductor"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare --gpu and --update-golden."""
    group = parser.getgroup("helion")
    group.addoption("--gpu", action="store_true", help="run the tests that need a GPU")
    group.addoption(
        "--update-golden", action="store_true", help="rewrite test/goldens/*.expected"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep parallel workers from fighting over the cores."""
    import torch

    # pytest listens at loggers that do not propagate, and torch works for listeners.
    logging.getLogger("torch.__trace").propagate = True
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Skip gpu tests unless they were asked for and can run."""
    import torch

    if not config.getoption("--gpu"):
        reason = "needs --gpu"
    elif not torch.cuda.is_available():
        reason = "needs a CUDA device"
    else:
        return
    skip = pytest.mark.skip(reason=reason)
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state."""
    import torch

    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def rng() -> random.Random:
    """Return a generator of its own, for tests that draw configs or shapes."""
    return random.Random(0)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """Return where tensors of a test live: the GPU when --gpu was given."""
    return "cuda" if request.config.getoption("--gpu") else "cpu"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that compares a text with the golden file of this test."""
    name = re.sub(r"[^\w.\-]+", "_", request.node.name).strip("_")
    path = GOLDENS / f"{name}.expected"
    update = request.config.getoption("--update-golden")
    calls = 0

    def check(text: str) -> None:
        nonlocal calls
        calls += 1
        assert calls == 1, "one golden a test"
        text = text.rstrip("\n") + "\n"
        if update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run with --update-golden"
        assert text == path.read_text(), f"differs from {path.name} (--update-golden)"

    return check
