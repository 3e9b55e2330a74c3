"""``helion.metrics()``: counts of what compiles of this process did."""

from __future__ import annotations

import threading

import pytest
import torch

import helion
import helion.language as hl
from helion._metrics import Metrics
from test.harness import fake_cuda


def half_rows(x: torch.Tensor) -> torch.Tensor:
    n = hl.specialize(x.size(1))
    out = torch.zeros(x.size(0), n, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = x[tile, :] / 2 + hl.zeros([tile, n])
    return out


@pytest.fixture
def metrics():
    helion.metrics.reset()
    yield helion.metrics
    helion.metrics.reset()


def bind(shape: tuple[int, ...] = (24, 1000), **settings: object) -> helion.Kernel:
    kernel = helion.kernel(half_rows, **settings)
    kernel.bind(fake_cuda([torch.empty(shape)]))
    return kernel


# ---- counting ----


def test_every_name_is_there_before_anything_was_counted():
    found = Metrics()()
    assert {"binds", "stage1", "guards", "symbols", "iota_rewrites"} <= found.keys()
    assert found.pop("symbol_reuse") == {"reused": 0, "minted": 0, "rate": 1.0}
    assert set(found.values()) == {0}


def test_counts_of_any_name_add_up():
    metrics = Metrics()
    metrics.count("iota_rewrites")
    metrics.count("colds", 4)
    metrics.count("colds")
    assert (metrics()["iota_rewrites"], metrics()["colds"]) == (1, 5)


def test_rate_is_the_share_of_what_was_reused():
    metrics = Metrics()
    metrics.count_reuse(reused=6, minted=1)
    metrics.count_reuse(reused=3, minted=2)
    assert metrics()["symbol_reuse"] == {"reused": 9, "minted": 3, "rate": 0.75}


def test_reset_answers_first():
    metrics = Metrics()
    metrics.count("binds")
    assert metrics(reset=True)["binds"] == 1
    assert metrics()["binds"] == 0


def test_no_count_of_any_thread_is_lost():
    metrics = Metrics()

    def work() -> None:
        for _ in range(5000):
            metrics.count("binds")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics()["binds"] == 20000


# ---- compiles ----


def test_a_bind_counts_once_and_then_as_a_hit(metrics):
    kernel = bind()
    kernel.bind(fake_cuda([torch.empty(24, 1000)])).to_triton_code()
    found = metrics()
    names = ("binds", "bind_hits", "stage1", "stage2")
    assert [found[name] for name in names] == [1, 1, 1, 1]


def test_static_shapes_need_no_guards(metrics):
    bind()
    assert metrics(reset=True)["guards"] == 0
    bind(static_shapes=False)
    assert metrics()["guards"] > 0


def test_symbols_of_dynamic_sizes_are_counted(metrics):
    bind()
    static = metrics(reset=True)["symbols"]
    bind(static_shapes=False)
    assert metrics()["symbols"] >= static + 2


def test_symbol_reuse_is_counted_after_a_compile(metrics):
    bind(static_shapes=False)
    found = metrics()["symbol_reuse"]
    assert found["reused"] >= 2
    assert found["minted"] == 0
    assert found["rate"] == 1.0
