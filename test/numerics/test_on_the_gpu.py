"""Kernels among what else a GPU program does: streams, graphs, threads, devices."""

from __future__ import annotations

import threading

import pytest
import torch

import helion
import helion.language as hl
from test.numerics.test_autograd import add_rows, scaled_softmax

pytestmark = pytest.mark.gpu


@helion.kernel
def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * factor
    return out


@helion.kernel(static_shapes=False)
def scale_dynamic(x: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * factor
    return out


BOTH = pytest.mark.parametrize("kernel", [scale, scale_dynamic], ids=lambda k: k.name)


@BOTH
def test_call_uses_the_current_stream(kernel):
    x = torch.randn(1 << 24, device="cuda")
    kernel(x, 2.0)
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        x.mul_(3.0)
        out = kernel(x, 2.0)
        assert not side.query()
    side.synchronize()
    torch.testing.assert_close(out, x * 2.0)


@BOTH
def test_streams_run_at_the_same_time_and_are_right(kernel):
    inputs = [torch.randn(100_003, device="cuda") for _ in range(4)]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    outs = []
    for x, stream in zip(inputs, streams):
        with torch.cuda.stream(stream):
            outs.append(kernel(x, 0.5))
    torch.cuda.synchronize()
    for x, out in zip(inputs, outs):
        torch.testing.assert_close(out, x * 0.5)


@BOTH
def test_cuda_graph_captures_and_replays(kernel):
    x = torch.randn(100_003, device="cuda")
    kernel(x, 2.0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = kernel(kernel(x, 2.0), 3.0)
    for _ in range(3):
        x.copy_(torch.randn_like(x))
        out.zero_()
        graph.replay()
        torch.testing.assert_close(out, x * 6.0)


def test_cuda_graph_holds_split_reductions_and_accumulators():
    x = torch.randn(4099, 33, device="cuda", dtype=torch.float64)
    total = torch.zeros(33, device="cuda", dtype=torch.float64)
    add_rows(x, total)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total.zero_()
        add_rows(x, total)
    x.copy_(torch.randn_like(x))
    graph.replay()
    torch.testing.assert_close(total, x.sum(0))


@BOTH
def test_threads_call_one_kernel(kernel):
    fresh = helion.kernel(kernel.fn, static_shapes=kernel.settings.static_shapes)
    sizes = [(7 * i + 1) * 101 for i in range(8)]
    errors: list[BaseException] = []

    def work(size: int) -> None:
        try:
            for _ in range(20):
                x = torch.randn(size, device="cuda")
                torch.testing.assert_close(fresh(x, 1.5), x * 1.5)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@BOTH
def test_call_runs_where_its_tensors_are(kernel):
    for device in ("cuda:1", "cuda:0", "cuda:1"):
        x = torch.randn(100_003, device=device)
        out = kernel(x, 2.0)
        assert out.device == x.device
        torch.testing.assert_close(out, x * 2.0)
    assert torch.cuda.current_device() == 0


def test_gradients_on_the_gpu_match_the_cpu():
    x = torch.randn(129, 257, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(257, dtype=torch.float64, requires_grad=True)
    out, _ = scaled_softmax(x.cuda(), weight.cuda(), 1.5)
    found = torch.autograd.grad(out.sin().sum(), [x, weight])
    plain = torch.softmax(x, -1) * weight * 1.5
    wanted = torch.autograd.grad(plain.sin().sum(), [x, weight])
    torch.testing.assert_close(found, wanted)
