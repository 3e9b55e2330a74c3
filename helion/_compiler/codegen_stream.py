"""Emits launches in which every program does an equal share of all work (stream-K).

Waves of whole tiles go first. The turns of the tiles that are left stand in a row,
which the programs cut into equal runs. A tile whose turns fall to several programs is
finished by the one of them that arrives last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .ast_extension import (
    assign,
    expr,
    for_loop,
    if_else,
    literal,
    statements,
    text_of,
)
from .codegen_split import Partials, SemaphorePartials
from .codegen_split_loops import turns_of
from .device_ir import ForLoopGraphInfo, _partial_loop
from .loop_options import emit_loop, tl_range
from .node_args import int_arg, raw_arg
from .program_id import PersistentProgramIds
from .tile_strategy import LoopDim

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from .codegen_split import Join
    from .device_function import DeviceFunction
    from .device_ir import RootGraphInfo
    from .program_id import ProgramIds

BLOCKS_LEFT = 2
"""How many blocks a program keeps at most: of its first tile, and of its last."""


@dataclass
class Stream:
    """Names of what a program knows of its work, and of the tile that it is at.

    ``turns`` is the number of turns of a tile, at least one: the first and the last
    program of a tile are those that have its first and its last turn. Units are turns
    of the tiles after the ``whole`` ones, so that those are before the first unit.
    """

    grid: str
    program: str
    waves: str
    whole: str
    turns: str
    units: str
    programs: str
    first_unit: str
    stop_unit: str
    tile_unit: str = ""
    first_turn: str = ""
    first_owner: str = ""
    last_owner: str = ""
    is_shared: str = ""
    is_done: str = ""


@dataclass
class StreamProgramIds(PersistentProgramIds):
    """Programs that compute a run of turns each, of several tiles side by side."""

    partials: StreamPartials | None = None

    def host_programs(self) -> str:
        """Return host code of the number of programs."""
        return self.grid_text()[1:-2]

    def emit(self, emit_body: Callable[[], None]) -> None:
        assert self.partials is not None
        fn, names = self.fn, self._run(self.partials)
        self.partials.stream = names
        first = f"{names.whole} + ({names.first_unit} // {names.turns}).to(tl.int32)"
        first = _named(fn, first, "first_tile")
        stop = f"tl.cdiv({names.stop_unit}, {names.turns}).to(tl.int32)"
        stop = _named(fn, f"{names.whole} + {stop}", "stop_tile")
        waves, number = names.waves, fn.new_var("number")
        count = expr(f"{waves} + {stop} - {first}")
        with fn.into([]) as body:
            alone = f"{number} * {names.grid} + {names.program}"
            text = (
                f"tl.where({number} < {waves}, {alone}, {first} + {number} - {waves})"
            )
            virtual = _named(fn, text, "virtual_pid")
            unit = f"({virtual} - {names.whole}).to(tl.int64) * {names.turns}"
            names.tile_unit = _named(fn, unit, "tile_unit")
            self.decompose(virtual)
            emit_body()
        iterable = tl_range(literal(0), count, "", self.range_options())
        emit_loop(fn, number, iterable, body)

    def _run(self, partials: StreamPartials) -> Stream:
        """Emit what this program does: whole tiles, and where its run begins and ends.

        As many waves of whole tiles go first as leave at least one tile for each
        program; where no tile is left, all of them.
        """
        fn, total = self.fn, text_of(self.total())
        _, _, count = turns_of(fn, partials.loop_dim(fn))
        grid = _named(fn, "tl.num_programs(0)", "grid_size")
        program = _named(fn, "tl.program_id(0)", "program")
        full = _named(fn, f"{total} // {grid}", "full_waves")
        waves = (
            f"tl.where({full} * {grid} == {total}, {full}, tl.maximum({full} - 1, 0))"
        )
        waves = _named(fn, waves, "waves")
        whole = _named(fn, f"{waves} * {grid}", "whole_tiles")
        turns = f"tl.maximum(tl.cast({text_of(count)}, tl.int64), 1)"
        turns = _named(fn, turns, "tile_turns")
        units = _named(fn, f"{turns} * ({total} - {whole})", "units")
        # Every program that has something to do has at least one unit.
        programs = f"tl.maximum(tl.minimum({grid}, {units}), 1)"
        programs = _named(fn, programs, "programs")
        bounds = []
        for offset, hint in (("", "first_unit"), (" + 1", "stop_unit")):
            bound = f"{units} * ({program}{offset}) // {programs}"
            bounds.append(_named(fn, f"tl.minimum({bound}, {units})", hint))
        return Stream(grid, program, waves, whole, turns, units, programs, *bounds)


class StreamPartials(SemaphorePartials):
    """Blocks of the programs that share a tile, two for each program."""

    stream: Stream
    ids: StreamProgramIds
    names: list[str]

    @property
    def host_blocks(self) -> str:
        return f"{BLOCKS_LEFT} * {self.ids.host_programs()}"

    def program_ids(self, tiles: ProgramIds, half: RootGraphInfo) -> ProgramIds:
        self.axes = tiles.axes
        self.ids = StreamProgramIds(tiles.fn, tiles.axes, tiles.group, self)
        return self.ids

    def loop_dim(self, fn: DeviceFunction) -> LoopDim:
        """Return the axis of the loop, whose bounds are the same for all tiles."""
        nodes = self.halves.first.graph.nodes
        (loop,) = [n for n in nodes if n.target is _partial_loop]
        info = fn.graphs[int_arg(loop, 0)]
        assert isinstance(info, ForLoopGraphInfo)
        ((begin, end),) = raw_arg(loop, 1)
        begin, end = (getattr(v, "meta", {"val": v})["val"] for v in (begin, end))
        return LoopDim(info.block_ids[0], begin, end, *info.steps[:1])

    def share(self, fn: DeviceFunction, turns: ast.expr) -> tuple[ast.expr, ast.expr]:
        s = self.stream
        begun = f"tl.maximum({s.first_unit} - {s.tile_unit}, 0)"
        text = f"tl.where({s.tile_unit} < 0, 0, {begun}).to(tl.int32)"
        s.first_turn = _named(fn, text, "first_turn")
        # An empty loop counts as one turn, which nobody does.
        text = f"tl.minimum({s.stop_unit} - {s.tile_unit}, {{t}}).to(tl.int32)"
        return expr(s.first_turn), fn.lift(expr(text, t=turns), "stop_turn")

    def is_first(self, fn: DeviceFunction) -> ast.expr:
        return expr(f"{self.stream.first_turn} == 0")

    def block(self, fn: DeviceFunction, number: ast.expr) -> ast.expr:
        return number

    def emit_stores(self, fn: DeviceFunction, names: list[str]) -> None:
        s, self.names = self.stream, names
        owners = []
        for units, hint in (("1", "first_owner"), (s.turns, "last_owner")):
            last_unit = f"({s.tile_unit} + {units}) * {s.programs} - 1"
            text = f"({last_unit}) // tl.maximum({s.units}, 1)"
            owners.append(_named(fn, text, hint))
        s.first_owner, s.last_owner = owners
        several = f"({s.tile_unit} >= 0) & ({owners[0]} != {owners[1]})"
        s.is_shared = _named(fn, several, "is_shared")
        s.is_done = fn.new_var("is_done")
        fn.emit(assign(s.is_done, expr(f"{s.is_shared} == 0")))
        with fn.into([]) as body:
            # All tiles but the last one of a run begin with another program.
            number = f"({s.first_turn} == 0)"
            text = f"{s.program}.to(tl.int64) * {BLOCKS_LEFT} + {number}"
            block = _named(fn, text, "block")
            for buffer, name in zip(self.buffers, names, strict=True):
                pointers = self.pointers(fn, buffer, block)
                fn.emit(*statements("tl.store({p}, {v})", p=pointers, v=name))
            is_last = f"{{b}} == {s.last_owner} - {s.first_owner}"
            fn.emit(assign(s.is_done, expr(is_last, b=self.arrive(fn))))
        fn.emit(if_else(expr(s.is_shared), body, []))

    def emit_join(self, fn: DeviceFunction, joins: list[Join]) -> None:
        s = self.stream
        for join, name in zip(joins, self.names, strict=True):
            fn.variables.add(join.name)
            fn.emit(assign(join.name, expr(name)))
        with fn.into([]) as body:
            self.settle(fn)
            for buffer, join in zip(self.buffers, joins, strict=True):
                block = _named(fn, f"{s.first_owner} * {BLOCKS_LEFT} + 1", "block")
                join.begin(fn, self.load(self.pointers(fn, buffer, block)))
                owner = fn.new_var("owner")
                with fn.into([]) as turn:
                    block = _named(fn, f"{owner} * {BLOCKS_LEFT}", "block")
                    join.add(fn, self.load(self.pointers(fn, buffer, block)))
                others = expr(f"tl.range({s.first_owner} + 1, {s.last_owner} + 1)")
                fn.emit(for_loop(owner, others, turn))
                join.end(fn)
        fn.emit(if_else(expr(s.is_shared), body, []))

    def emit_rest(self, fn: DeviceFunction) -> None:
        with fn.into([]) as body:
            fn.interpret(self.halves.second, [])
        fn.emit(if_else(expr(self.stream.is_done), body, []))


def _named(fn: DeviceFunction, text: str, hint: str) -> str:
    return text_of(fn.lift(expr(text), hint))


PARTIALS: dict[str, type[Partials]] = {
    "partials": Partials,
    "semaphore": SemaphorePartials,
    "stream": StreamPartials,
}
