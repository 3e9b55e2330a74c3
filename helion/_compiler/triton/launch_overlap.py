"""Device functions of launches that overlap; in the interpreter none do."""

from __future__ import annotations

from triton import knobs
from triton.language.extra import cuda


def _nothing() -> None:
    """Stand for both where one launch ends before the next begins."""


gdc_wait = _nothing if knobs.runtime.interpret else cuda.gdc_wait
gdc_launch_dependents = (
    _nothing if knobs.runtime.interpret else cuda.gdc_launch_dependents
)
