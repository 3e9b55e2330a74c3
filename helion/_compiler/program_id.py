"""Program ids: which programs a launch has and which tile each one computes."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .ast_extension import assign, expr, statements
from .loop_options import emit_loop, tl_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from .device_function import DeviceFunction


# Dies of the AMD GPUs that have several; another number is slower, and right.
NUM_XCDS = 8


@dataclass(frozen=True)
class GridAxis:
    """One axis of the grid: how many tiles it has, on the host and on the device."""

    pid: str
    host_count: str
    device_count: ast.expr

    def count(self, fn: DeviceFunction) -> ast.expr:
        """Return the device code of the number of tiles, computed once."""
        return fn.share(self.device_count, f"num_{self.pid}")


@dataclass
class ProgramIds:
    """Base: maps programs to the tile numbers ``pid_<block>`` of each axis.

    ``axes`` are in loop order: the first one varies fastest.
    """

    fn: DeviceFunction
    axes: list[GridAxis]
    group: int = 1

    def grid_text(self) -> str:
        """Return the host code of the launch grid."""
        return f"({' * '.join(f'({count})' for count in self._counts())},)"

    def _counts(self) -> list[str]:
        return [axis.host_count for axis in self.axes]

    def emit(self, emit_body: Callable[[], None]) -> None:
        """Emit the decomposition, then the body of a tile."""
        raise NotImplementedError

    def program(self) -> ast.expr:
        """Return the number of this program among those of the first grid dimension."""
        pid = expr("tl.program_id(0)")
        if not self.fn.config.get("xcd_remap"):
            return pid
        # The hardware deals programs out to the dies in turn.
        pid = self.fn.lift(pid, "dealt_pid")
        die = self.fn.lift(expr(f"{{pid}} % {NUM_XCDS}", pid=pid), "die")
        every = "tl.num_programs(0)"
        share = f"{{die}} * ({every} // {NUM_XCDS})"
        first = f"{share} + tl.minimum({{die}}, {every} % {NUM_XCDS})"
        return self.fn.lift(
            expr(f"{first} + {{pid}} // {NUM_XCDS}", die=die, pid=pid), "own_pid"
        )

    # -- decomposition of a linear id ------------------------------------------------

    def decompose(self, linear: str) -> None:
        """Assign every axis its tile number from a linear id."""
        if self.group > 1 and len(self.axes) > 1:
            self._decompose_grouped(linear)
            return
        self._split(self.axes, expr(linear))

    def _split(self, axes: list[GridAxis], linear: ast.expr) -> None:
        """Assign tile numbers from a linear id, the first axis fastest."""
        fn, rest = self.fn, linear
        for axis in axes[:-1]:
            count = axis.count(self.fn)
            fn.emit(assign(axis.pid, expr("{p} % {n}", p=rest, n=count)))
            rest = expr("{p} // {n}", p=rest, n=count)
            if axis is not axes[-2]:
                rest = fn.lift(rest, "pid_rest")
        fn.emit(assign(axes[-1].pid, rest))

    def _decompose_grouped(self, linear: str) -> None:
        """Walk ``group`` tiles of the first axis before moving along the second.

        Neighbouring programs then share the tiles that they read (L2 cache).
        """
        first, second = self.axes[:2]
        plane = linear
        if len(self.axes) > 2:
            area = expr("{a} * {b}", a=first.count(self.fn), b=second.count(self.fn))
            area_name = ast.unparse(self.fn.share(area, "plane_size"))
            inner = self.fn.lift(expr(f"{linear} % {area_name}"), "pid_plane")
            plane = ast.unparse(inner)
            self._split(self.axes[2:], expr(f"{linear} // {area_name}"))
        hints = ("group_span", "group_first", "group_size", "group_pid")
        span, start, size, pid = map(self.fn.new_var, hints)
        code = statements(
            f"{span} = {self.group} * {{nn}}\n"
            f"{start} = {plane} // {span} * {self.group}\n"
            f"{size} = tl.minimum({{nm}} - {start}, {self.group})\n"
            f"{pid} = {plane} % {span}\n"
            f"{first.pid} = {start} + {pid} % {size}\n"
            f"{second.pid} = {pid} // {size}",
            nn=second.count(self.fn),
            nm=first.count(self.fn),
        )
        self.fn.emit(*code)


class FlatProgramIds(ProgramIds):
    """One program per tile, one grid dimension."""

    def emit(self, emit_body: Callable[[], None]) -> None:
        if len(self.axes) == 1:
            self.fn.emit(assign(self.axes[0].pid, self.program()))
        else:
            linear = self.fn.lift(self.program(), "pid")
            self.decompose(ast.unparse(linear))
        emit_body()


@dataclass
class SplitProgramIds(FlatProgramIds):
    """Several programs per tile: the second grid dimension numbers them."""

    splits: int = 1

    def grid_text(self) -> str:
        tiles = " * ".join(f"({count})" for count in self._counts())
        return f"({tiles}, {self.splits})"


class XYZProgramIds(ProgramIds):
    """One program per tile, one grid dimension per axis."""

    def grid_text(self) -> str:
        return f"({', '.join(self._counts())},)"

    def emit(self, emit_body: Callable[[], None]) -> None:
        for dim, axis in enumerate(self.axes):
            self.fn.emit(assign(axis.pid, expr(f"tl.program_id({dim})")))
        emit_body()


class PersistentProgramIds(ProgramIds):
    """A fixed number of programs, each of which walks through several tiles."""

    def grid_text(self) -> str:
        multiplier = self.fn.config.num_sm_multiplier
        reserved = self.fn.env.settings.persistent_reserved_sms
        device = self.fn.env.device
        sms = f"_num_sms({str(device)!r}, {reserved})"
        return f"({sms} * {multiplier},)" if multiplier != 1 else f"({sms},)"

    def total(self) -> ast.expr:
        """Return the device code of the number of tiles."""
        total = self.axes[0].count(self.fn)
        for axis in self.axes[1:]:
            total = expr("{a} * {b}", a=total, b=axis.count(self.fn))
        return self.fn.lift(total, "total_pids")

    def loop(self, iterable: ast.expr, emit_body: Callable[[], None]) -> None:
        """Emit the loop over tile numbers."""
        virtual = self.fn.new_var("virtual_pid")
        with self.fn.into([]) as body:
            self.decompose(virtual)
            emit_body()
        emit_loop(self.fn, virtual, iterable, body)

    def range_options(self) -> str:
        """Return the ``tl.range`` options of the grid loop."""
        return self.fn.range_options(None)


class PersistentInterleavedProgramIds(PersistentProgramIds):
    """Program p computes tiles p, p + P, p + 2P..."""

    def emit(self, emit_body: Callable[[], None]) -> None:
        first, step = self.program(), "tl.num_programs(0)"
        iterable = tl_range(first, self.total(), step, self.range_options())
        self.loop(iterable, emit_body)


class PersistentBlockedProgramIds(PersistentProgramIds):
    """Program p computes a run of neighbouring tiles."""

    def emit(self, emit_body: Callable[[], None]) -> None:
        total = self.total()
        share = self.fn.lift(
            expr("tl.cdiv({total}, tl.num_programs(0))", total=total),
            "pids_per_program",
        )
        start = self.fn.lift(
            expr("{pid} * {share}", pid=self.program(), share=share), "first_pid"
        )
        stop = self.fn.lift(
            expr("tl.minimum({a} + {b}, {total})", a=start, b=share, total=total),
            "stop_pid",
        )
        self.loop(tl_range(start, stop, "", self.range_options()), emit_body)


PROGRAM_IDS: dict[str, type[ProgramIds]] = {
    "flat": FlatProgramIds,
    "xyz": XYZProgramIds,
    "persistent_blocked": PersistentBlockedProgramIds,
    "persistent_interleaved": PersistentInterleavedProgramIds,
}
