"""Write the table of knobs in docs/configuration.md from their declarations."""

from __future__ import annotations

import sys
from pathlib import Path

from helion.autotuner.config_knobs import KNOBS, Knob

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- knobs: begin -->\n", "<!-- knobs: end -->\n"
VENDORS = {"amd": "AMD only", "nvidia": "NVIDIA only"}
BY_KERNEL = ("block_sizes", "loop_orders", "reduction_loops")


def row(knob: Knob) -> str:
    """Return one line of the table."""
    legal = (knob.check(object()) or "").removeprefix("must be ").split(": ")[0]
    default = "by kernel" if knob.name in BY_KERNEL else f"`{knob.default!r}`"
    notes = [f"{knob.doc}"]
    if knob.legacy is not None:
        notes.append(f"older name `{knob.legacy}`")
    if knob.vendor is not None:
        notes.append(VENDORS[knob.vendor])
    unit = "the kernel" if knob.per is None else f"each {knob.unit}"
    return f"| `{knob.name}` | {unit} | {legal} | {default} | {'; '.join(notes)} |"


def table() -> str:
    """Return the table of all knobs, in the order of their declarations."""
    head = "| key | a value for | legal | default | meaning |\n|---|---|---|---|---|\n"
    return head + "".join(f"{row(knob)}\n" for knob in KNOBS.values())


def renewed(text: str) -> str:
    """Return the page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main() -> int:
    """Write the page; return 0."""
    PAGE.write_text(renewed(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
