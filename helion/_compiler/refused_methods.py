"""Torch functions that a device loop cannot have, each with what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .function_modes import (
    DEVICE_HANDLERS,
    HOST_HANDLERS,
    Handler,
    handles,
)

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

_NO_PYTHON_FORM = "a device value has no Python form; use the 0-d tensor itself"
_USE_WHERE = "use torch.where, or `if` on a 0-d tensor"
_NO_MEMORY = "a device value has no memory; store it in a host tensor"
_NO_AUTOGRAD = "gradients are computed by a kernel of their own"
_METHODS = {
    "item": _NO_PYTHON_FORM,
    "tolist": _NO_PYTHON_FORM,
    "numpy": _NO_PYTHON_FORM,
    "__int__": _NO_PYTHON_FORM + ", or .to(torch.int32)",
    "__float__": _NO_PYTHON_FORM + ", or .to(torch.float32)",
    "__complex__": _NO_PYTHON_FORM,
    "__index__": _NO_PYTHON_FORM,
    "__array__": "use functions of torch, not of numpy",
    "__bool__": _USE_WHERE,
    "__len__": "use .size(0)",
    "__iter__": "a device value cannot be cut into single elements",
    "__contains__": "compare with == and combine with |",
    "data_ptr": _NO_MEMORY,
    "storage": _NO_MEMORY,
    "untyped_storage": _NO_MEMORY,
    "share_memory_": _NO_MEMORY,
    "pin_memory": _NO_MEMORY,
    "resize_": "use reshape",
    "cpu": "device values stay on the device of the kernel",
    "cuda": "device values stay on the device of the kernel",
    "backward": _NO_AUTOGRAD,
    "requires_grad_": _NO_AUTOGRAD,
    "register_hook": _NO_AUTOGRAD,
}
_DATA_SIZED = (
    torch.nonzero,
    torch.Tensor.nonzero,
    torch.argwhere,
    torch.Tensor.argwhere,
    torch.masked_select,
    torch.Tensor.masked_select,
    torch.unique,
    torch.Tensor.unique,
    torch.unique_consecutive,
    torch.Tensor.unique_consecutive,
)


def _refused(name: str, hint: str) -> Handler:
    def handler(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
        raise exc.NotAllowedOnDevice(construct=f"Tensor.{name}()", hint=hint)

    return handler


for _name, _hint in _METHODS.items():
    DEVICE_HANDLERS[getattr(torch.Tensor, _name)] = _refused(_name, _hint)


@handles(DEVICE_HANDLERS, *_DATA_SIZED)
def refuse_data_sized(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
    """The result would have as many elements as the data says."""
    raise exc.DataDependentOutputShapeNotSupported(op="this function")


@handles(HOST_HANDLERS, *_DATA_SIZED, torch.bincount, torch.Tensor.bincount)
def refuse_data_sized_on_host(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
    """Kernels are compiled for sizes, which these results do not have."""
    raise exc.DataDependentOutputShapeNotSupported(
        op="this function", hint="call it before the kernel and pass the result"
    )


@handles(DEVICE_HANDLERS, torch.Tensor.to)
def device_to(
    tracer: GraphTracer, value: torch.Tensor, *args: Any, **kwargs: Any
) -> Any:
    """A change of dtype; the device stays."""
    for given in (*args, kwargs.get("device")):
        if isinstance(given, (torch.device, str)):
            tracer.env.check_device(given)
    return value.to(*args, **kwargs)


@handles(DEVICE_HANDLERS, torch.Tensor.stride)
def device_stride(tracer: GraphTracer, value: torch.Tensor, *args: Any) -> Any:
    """Host tensors have strides, values in registers have none."""
    if tracer.env.host_origin(value) is None:
        raise exc.NotAllowedOnDevice(
            construct="Tensor.stride() of a device value", hint=_NO_MEMORY
        )
    return value.stride(*args)
