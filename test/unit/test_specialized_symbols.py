"""The registry of specialized sizes in the compile environment, and its checks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sympy
import torch
from torch.testing import assert_close

import helion
import helion.language as hl
from examples._catalog import CASES, Case
from examples.layer_norm import layer_norm_bwd
from helion import exc
from helion._compiler import symbols
from helion._compiler.backend import backend_named
from helion._compiler.compile_environment import CompileEnvironment
from helion._compiler.provenance import Provenance
from helion._compiler.specialized_symbols import SpecializedSymbols
from helion._compiler.variable_origin import NameOrigin
from helion.language.constexpr import SpecializedValue
from helion.runtime.settings import Settings
from test import interpreter_worker
from test.harness import compiled_function, fake_cuda, run

A, B = sympy.Symbol("a"), sympy.Symbol("b")
SEEN: list[Any] = []


def look(value: Any) -> None:
    """Keep what a kernel has while it is compiled."""
    SEEN.append(value)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def environment(**settings: Any) -> CompileEnvironment:
    return CompileEnvironment(
        torch.device("cpu"), Settings(**settings), backend_named("triton")
    )


def bound(kernel: helion.Kernel, *shape: int, **settings: Any) -> Any:
    """Return a kernel bound to one fake tensor, by default with dynamic shapes."""
    chosen = {"static_shapes": False, **settings}
    args = fake_cuda((torch.empty(shape),))
    return helion.kernel(kernel.fn, **chosen).bind(args)


def env_of(kernel: helion.Kernel, *shape: int, **settings: Any) -> CompileEnvironment:
    return bound(kernel, *shape, **settings).env


def text_of(kernel: helion.Kernel, *shape: int, **settings: Any) -> str:
    return bound(kernel, *shape, **settings).to_triton_code()


def symbol_of(value: Any) -> sympy.Basic:
    """Return the symbol a SymInt was made on, whatever stands for it now."""
    return value.node._expr


# ---- kernels ----


@helion.kernel(static_shapes=False)
def row_sums(x: torch.Tensor) -> torch.Tensor:
    m, n = x.size()
    n = hl.specialize(n)
    look(n)
    n_half = n // 2
    rest = (n_half + 3) % n - helion.cdiv(n, 7)
    rest += 1
    look(rest)
    out = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        out[tile] = x[tile, :].sum(-1) + n_half
    return out


@helion.kernel(static_shapes=False)
def unspecialized(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        out[tile, :] = row - row.amax(-1, keepdim=True)
    return out


@helion.kernel(static_shapes=False)
def many_places(x: torch.Tensor) -> torch.Tensor:
    h, w = hl.specialize(x.shape[-2:])
    twice = hl.specialize(x.size(0) * 2)
    stride = hl.specialize(x.stride(1))
    sizes = hl.specialize({"all": [x.size(0), (x.shape[1], 4)]})
    look([h, w, twice, stride, sizes])
    out = torch.empty([h, w], device=x.device)
    for tile in hl.tile(h):
        out[tile, :] = x[0, tile, :] + twice
    return out


@helion.kernel(static_shapes=False)
def two_contexts(x: torch.Tensor) -> torch.Tensor:
    batch = hl.specialize(x.size(0), context="batch")
    hidden = hl.specialize(x.size(1), context="hidden")
    look([batch, hidden])
    out = torch.empty([batch, hidden], device=x.device)
    for tile in hl.tile(batch):
        out[tile, :] = x[tile, :] + hl.zeros([tile, hidden])
    return out


@helion.kernel(static_shapes=False)
def derived_buffer(x: torch.Tensor) -> torch.Tensor:
    m, n = x.size()
    before = x.size(1) * 2 + 1
    n = hl.specialize(n)
    host = torch.empty([m, before], device=x.device)
    out = torch.empty([m], device=x.device)
    for tile in hl.tile(m):
        wide = hl.zeros([tile, 2 * n + 1]) + 1
        host[tile, :] = wide
        out[tile] = wide.sum(-1)
    return out


@helion.kernel(static_shapes=False)
def roundabout(x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Sizes in the less usual places; every name says what it should be."""
    listed = [hl.specialize(s) for s in x.shape]
    (pair, [first, second]) = (x.size(), [hl.specialize(x.size(0)), 3])
    zero, one = hl.specialize(pair)
    by_keyword = hl.specialize(value=x.stride(0))
    by_hand = hl.specialize((x.size(1), sizes[0]))
    beyond = hl.specialize(len(x))
    negative, odd = -one, one | 1
    one_or_equal = hl.specialize(x.size(1)) if x.size(0) > 3 else 50
    rebound = one * 2
    look(rebound := 5)
    late = rebound + one
    look([listed, by_keyword, by_hand, beyond, one_or_equal, late])
    out = torch.empty_like(x)
    for tile in hl.tile(zero):
        out[tile, :] = x[tile, :] + first + second + negative + odd
    return out


@helion.kernel(static_shapes=False)
def specialize_in_loop(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + hl.specialize(x.size(1))
    return out


@helion.kernel(static_shapes=False)
def either_path(x: torch.Tensor) -> torch.Tensor:
    width = 48
    if x.stride(0) > x.size(0):
        width = hl.specialize(x.size(1))
    look(width)
    out = torch.empty([x.size(0), width], device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = hl.zeros([tile, width])
    return out


# ---- the two maps ----


def test_registry_maps_both_ways():
    env = environment()
    env.register_specialized_value(5632, A)
    assert env.specialized_symbol_registry == {5632: A}
    assert env.specialized_concrete_values == {A: 5632}
    assert env.get_specialized_symbol(5632) == A
    assert env.specialized_vars == {A}


def test_the_first_symbol_of_a_number_keeps_it():
    env = environment()
    env.register_specialized_value(5632, A)
    env.register_specialized_value(5632, B)
    assert env.get_specialized_symbol(5632) == A
    assert env.specialized_concrete_values == {A: 5632, B: 5632}


def test_symbols_are_found_by_tag_and_by_number():
    env = environment()
    env.register_specialized_value(5632, A)
    assert env.get_specialized_symbol(SpecializedValue(5632, B)) == B
    assert env.get_specialized_symbol(5632) == A
    assert env.get_specialized_symbol(5633) is None
    assert env.get_specialized_symbol(True) is None


def test_contexts_keep_equal_numbers_apart():
    env = environment()
    env.register_specialized_value(5632, A, context="batch")
    env.register_specialized_value(5632, B, context="hidden")
    assert env.get_specialized_symbol(5632, context="batch") == A
    assert env.get_specialized_symbol(5632, context="hidden") == B
    assert env.get_specialized_symbol(5632, context="width") is None


# ---- dimensions ----


def test_a_symint_is_its_own_dimension():
    env = environment()
    size = env.new_size(7, NameOrigin("n"))
    assert env.create_symint_for_dimension(size) is size


@pytest.mark.parametrize("value", [SpecializedValue(5632, B), 5632])
def test_a_known_dimension_is_its_symbol(value):
    env = environment()
    tag = env.specialized.tag(5632, B)
    result = env.create_symint_for_dimension(value)
    assert isinstance(result, torch.SymInt) and symbol_of(result) == B
    assert int(result) == tag and not env.shape_env.guards
    assert (env.specialized.reused, env.specialized.minted) == (1, 0)


@pytest.mark.parametrize(
    ("args", "options", "hint"),
    [((77,), {}, 77), ((77,), {"hint": 5}, 5), ((None,), {}, 8192)],
)
def test_an_unknown_dimension_is_a_fresh_symbol_with_a_hint(args, options, hint):
    env = environment()
    result = env.create_symint_for_dimension(*args, **options)
    assert symbols.is_unbacked(result.node.expr)
    assert symbols.hint_of(env.shape_env, result.node.expr) == hint
    assert symbols.size_hint(result, fallback=1) == hint


def test_stand_ins_of_values():
    env = environment()
    tag = env.specialized.tag(5632, B)
    place = NameOrigin("v")
    tensor = torch.empty(3, 5632)
    assert env.to_fake(None, place) is None
    assert env.to_fake(tensor, place).shape == (3, 5632)
    assert isinstance(env.to_fake(True, place), torch.SymBool)
    assert isinstance(env.to_fake(1.5, place), torch.SymFloat)
    assert symbol_of(env.to_fake(5632, place)) == B
    other = env.to_fake(5633, place)
    assert isinstance(other, torch.SymInt) and symbol_of(other) != B
    assert symbol_of(env.to_fake(tag, place)) == B


def test_a_tag_that_is_not_registered_keeps_its_symbol():
    env = environment()
    result = env.to_fake(SpecializedValue(9, B), NameOrigin("v"))
    assert symbol_of(result) == B


def test_a_symbol_made_for_a_specialized_size_is_linked():
    env = environment()
    late = env.create_symint_for_dimension(5632)
    symbol = late.node.expr
    env.specialized.tag(5632, B)
    env._ensure_specialized_symbols([late, 4])
    assert env.shape_env.replace(symbol) == 5632 == symbols.static_int(late)
    assert env.specialized.minted == 1


def test_only_symbols_with_the_hint_are_linked():
    env = environment()
    env.specialized.tag(5632, B)
    others = [env.create_symint_for_dimension(7), env.new_scalar(int, NameOrigin("n"))]
    others.append(env.new_size(5632, NameOrigin("m")))
    before = [v.node.expr for v in others]
    env._ensure_specialized_symbols(others)
    assert [env.shape_env.replace(s) for s in before] == before


def test_kernel_tensor_sizes_over_specialized_symbols_are_numbers():
    env = environment()
    n, m = env.new_size(10, NameOrigin("n")), env.new_size(20, NameOrigin("m"))
    sizes = [2 * n + 1, m, m + n, 3]
    assert env.specialized.specialize_symint(n) == 10
    first, second, third, fourth = env.add_kernel_tensor_size(sizes)
    assert (first, fourth) == (21, 3) and type(first) is int
    assert isinstance(second, torch.SymInt) and isinstance(third, torch.SymInt)


def test_layer_norm_backward_has_numbers_for_specialized_sizes(monkeypatch):
    seen: list[Any] = []
    resolve = CompileEnvironment.add_kernel_tensor_size

    def spy(env: CompileEnvironment, sizes: Any) -> list[Any]:
        result = resolve(env, sizes)
        free = [symbols.sym_expr(s).free_symbols for s in result]
        seen.append((set().union(*free) & env.specialized_vars, result))
        return result

    monkeypatch.setattr(CompileEnvironment, "add_kernel_tensor_size", spy)
    case = next(c for c in CASES if c.kernel is layer_norm_bwd)
    args = fake_cuda(case.make_args("cpu", True))
    env = helion.kernel(layer_norm_bwd.fn, static_shapes=False).bind(args).env
    numbers = env.specialized_symbol_registry
    assert numbers and not any(left for left, _ in seen)
    assert any(type(size) is int and size in numbers for _, r in seen for size in r)


# ---- hl.specialize while compiling ----


@pytest.mark.parametrize("static", [True, False])
def test_specialize_tags_registers_and_replaces(static):
    env = env_of(row_sums, 16, 5632, static_shapes=static)
    (tag,) = SEEN[:1]
    symbol = tag._original_symbol
    assert helion.is_specialized(tag) and tag == 5632 and symbol.name.startswith("s")
    assert env.specialized_symbol_registry == {5632: symbol}
    assert env.specialized_vars == {symbol}
    assert env.shape_env.replace(symbol) == 5632
    assert symbols.size_hint(env.create_symint_for_dimension(tag)) == 5632
    assert env.validate_specialized_symbols() == []
    assert env.specialized.reused > 0 and env.specialized.minted == 0


def test_specialized_sizes_are_part_of_the_key():
    kernel = helion.kernel(row_sums.fn, static_shapes=False)
    first, again, other = [
        kernel.bind(fake_cuda((torch.empty(shape),)))
        for shape in [(16, 512), (24, 512), (16, 640)]
    ]
    assert first is again and first is not other
    assert list(other.env.specialized_symbol_registry) == [640]


@pytest.mark.parametrize("static", [True, False])
def test_specialize_takes_shapes_strides_and_nests(static):
    env = env_of(many_places, 3, 8, 10, static_shapes=static)
    h, w, twice, stride, sizes = SEEN[0]
    assert (h, w, twice, stride) == (8, 10, 6, 10)
    assert sizes == {"all": [3, (8, 4)]} and type(sizes["all"][1]) is tuple
    tags = [h, w, stride, sizes["all"][0], sizes["all"][1][0]]
    assert all(map(helion.is_specialized, tags))
    # What is computed is a number, and so is what was one in the first place.
    assert type(twice) is int and type(sizes["all"][1][1]) is int
    assert sizes["all"][1][0].symbol == h.symbol != w.symbol
    names = [str(env.provenance(tag)) for tag in (h, w)]
    assert ["x.size(1)" in names[0], "x.size(2)" in names[1]] == [True, True]
    assert w.symbol in env.specialized_vars


def test_an_unspecialized_size_of_a_composite_becomes_a_guard():
    x = torch.randn(3, 8, 10)
    kernel = helion.kernel(many_places.fn, static_shapes=False)
    first, second = [kernel.bind(fake_cuda((torch.empty(n, 8, 10),))) for n in (3, 4)]
    assert first is not second
    assert_close(run(many_places, x, way="interpreted"), x[0] + 6)


def test_specialize_is_refused_on_the_device():
    with pytest.raises(exc.SpecializeOnDevice):
        env_of(specialize_in_loop, 4, 8)


@pytest.mark.parametrize("static", [True, False])
def test_contexts_are_kept_while_compiling(static, capsys):
    env = env_of(two_contexts, 48, 48, static_shapes=static)
    batch, hidden = SEEN[0]
    assert (batch.context, hidden.context) == ("batch", "hidden")
    assert batch.symbol != hidden.symbol
    assert env.get_specialized_symbol(48, context="batch") == batch.symbol
    assert env.get_specialized_symbol(48, context="hidden") == hidden.symbol
    assert env.get_specialized_symbol(48) == batch.symbol
    env.dump_symbol_info()
    assert "48 (hidden) -> " in capsys.readouterr().err


def test_what_is_derived_from_a_specialized_size_is_a_number():
    found = bound(derived_buffer, 6, 10)
    shapes = [n.meta["val"].shape for n in device_nodes(found)]
    assert 21 in itertools.chain(*shapes)
    assert all(isinstance(s, int) for s in itertools.chain(*shapes))
    host = [t.value.shape for t in found.env.host_tensors.values()]
    assert 21 in [symbols.static_int(s) for s in itertools.chain(*host)]


def device_nodes(found: Any) -> list[Any]:
    """Return the nodes of a bound kernel that stand for values on the device."""
    nodes = [n for g in found.program.ir.graphs for n in g.graph.nodes]
    named = [n for n in nodes if isinstance(n.meta.get("val"), torch.Tensor)]
    return [n for n in named if getattr(n.target, "__name__", "") != "_host_tensor"]


def test_no_symbol_of_its_own_for_a_specialized_size_in_a_reduction():
    found = bound(row_sums, 16, 5632)
    sizes = [s for n in device_nodes(found) for s in n.meta["val"].shape]
    assert 5632 in sizes and all(isinstance(s, int) for s in sizes)
    env = found.env
    hinted = [s for s in symbols.hints(env.shape_env) if symbols.is_unbacked(s)]
    assert all(env.shape_env.replace(s) != s for s in hinted)


# ---- no aliasing ----


def bind_square_run_other(kernel: Any, square: Any, other: Any) -> Any:
    """Compile for one tensor, call on another; both must have the same bound kernel."""
    function = compiled_function(kernel, (square,), None)
    assert kernel.bind((square,)) is kernel.bind((other,))
    return function(other)


def test_equal_sizes_are_not_one_size():
    """With x[48, 48] only the specialized dim is fixed to 48."""
    square, other = torch.randn(48, 48), torch.randn(64, 48)
    request = (bind_square_run_other, (row_sums, square, other))
    result, _ = interpreter_worker.call(*request)
    assert_close(result, other.sum(-1) + 24, atol=1e-4, rtol=1e-4)


# ---- nothing specialized ----


def test_nothing_changes_where_nothing_is_specialized():
    on = text_of(unspecialized, 48, 100, specialize_provenance=True)
    off = text_of(unspecialized, 48, 100, specialize_provenance=False)
    assert on == off
    known = env_of(unspecialized, 48, 100).specialized
    assert not known.specialized_vars and not known.table.numbers
    assert (known.reused, known.minted) == (0, 0)


# ---- checks ----


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_examples_have_no_stray_symbols(case: Case):
    args = fake_cuda(case.make_args("cpu", True))
    kernel = helion.kernel(case.kernel.fn, static_shapes=False, debug=True)
    assert kernel.bind(args).env.validate_specialized_symbols() == []


def stray_symbol(env: CompileEnvironment) -> str:
    """Make a symbol for 5632, specialize 5632, and do not link them."""
    stray = env.create_symint_for_dimension(5632)
    env.specialized.tag(5632, B)
    return str(stray.node.expr)


def test_a_stray_symbol_is_reported(capsys):
    env = environment()
    name = stray_symbol(env)
    (issue,) = env.validate_specialized_symbols(verbose=True)
    assert f"symbol {name} " in issue and "5632" in issue and "b should" in issue
    assert issue in capsys.readouterr().err
    assert env.validate_specialized_symbols() == [issue]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("debug", [True, False])
def test_a_stray_symbol_is_an_error_under_debug(monkeypatch, debug):
    tag = SpecializedSymbols.tag

    def faulty(known: SpecializedSymbols, number: int, *args: Any) -> int:
        known.create_symint_for_dimension(number)
        return tag(known, number, *args)

    monkeypatch.setattr(SpecializedSymbols, "tag", faulty)
    if not debug:
        assert env_of(row_sums, 4, 77, debug=False).validate_specialized_symbols()
        return
    with pytest.raises(RuntimeError, match="symbol u[0-9]+ has the hint 77"):
        env_of(row_sums, 4, 77, debug=True)


def test_symbol_info_has_three_sections(capsys):
    env = env_of(row_sums, 4, 77)
    env.dump_symbol_info()
    text = capsys.readouterr().err
    first, second, third = text.split("\n=== ")
    name = env.get_specialized_symbol(77)
    assert "specialized symbols" in first and f"77 -> {name}" in first
    assert f"{name} is x.size(1)" in first
    assert "hints" in second and f"{name} -> 77" in second
    assert "replacements" in third and f"{name} -> 77" in third


# ---- the switch ----


@pytest.mark.parametrize("static", [True, False])
def test_the_switch_gives_plain_ints(monkeypatch, static):
    monkeypatch.setenv("HELION_SPECIALIZE_PROVENANCE", "0")
    env = env_of(row_sums, 4, 77, static_shapes=static)
    assert type(SEEN[0]) is int and env.specialized_symbol_registry == {}
    assert (env.specialized.reused, env.specialized.minted) == (0, 0)
    # The size is part of the key all the same.
    assert len(env.specialized_vars) == (0 if static else 1)
    other = env_of(row_sums, 4, 77, static_shapes=static, specialize_provenance=True)
    assert other.specialized.reused > 0


def test_the_switch_does_not_change_the_code():
    texts = {
        text_of(row_sums, 4, 77, specialize_provenance=value) for value in (True, False)
    }
    assert len(texts) == 1


# ---- provenance ----


@pytest.mark.parametrize("static", [True, False])
def test_provenance_of_arithmetic_names_size_and_formula(static):
    env = env_of(row_sums, 4, 5632, static_shapes=static)
    name = str(env.get_specialized_symbol(5632))
    half = env.provenance("n_half")
    assert half == env.provenance(2816)
    assert isinstance(half, Provenance) and half.value == 2816
    assert str(half) == f"2816 = ({name}//2), where {name} is x.size(1)"
    rest, value = env.provenance("rest"), SEEN[1]
    assert rest is not None and "helion.cdiv" in str(rest.formula)
    assert type(value) is int and env.provenance(value) == rest
    assert env.provenance("m") is None and env.provenance(5) is None


def test_provenance_of_sizes_in_less_usual_places():
    args = fake_cuda((torch.empty(48, 50), [7]))
    known = helion.kernel(roundabout.fn).bind(args).env
    listed, by_keyword, by_hand, beyond, one_or_equal, _ = SEEN[-1]
    tags = [*listed, by_keyword, *by_hand, beyond, one_or_equal]
    assert tags == [48, 50, 50, 50, 7, 48, 50]
    assert all(map(helion.is_specialized, tags))
    labels = {
        name: str(known.provenance(name)).partition(", where ")[2].partition(" is ")[2]
        for name in ("zero", "one", "first", "by_keyword", "beyond", "negative", "odd")
    }
    assert labels == {
        "zero": "x.size(0)",
        "one": "x.size(1)",
        "first": "x.size(0)",
        "by_keyword": "x.stride(0)",
        "beyond": "len(x)",
        "negative": "x.size(1)",
        "odd": "x.size(1)",
    }
    assert "BitOr" in str(known.provenance("odd"))
    # A size of its own, although its number is another's.
    assert listed[1].symbol != by_keyword.symbol != one_or_equal.symbol


def test_a_name_that_is_bound_anew_has_no_old_formula():
    args = fake_cuda((torch.empty(48, 50), [7]))
    known = helion.kernel(roundabout.fn).bind(args).env
    late, one = known.provenance("late"), known.provenance("one")
    assert late is not None and one is not None
    assert (late.value, late.formula) == (55, one.formula + 5)


def test_equal_sizes_on_both_paths_are_the_number():
    args = fake_cuda((torch.empty(48, 48),))
    known = helion.kernel(either_path.fn, static_shapes=False).bind(args).env
    assert type(SEEN[-1]) is int and SEEN[-1] == 48
    assert known.specialized_concrete_values


def test_provenance_of_symbolic_values():
    env = environment()
    n = env.new_size(10, NameOrigin("n"))
    derived = 2 * n + 1
    env.specialized.specialize_symint(n)
    (symbol,) = env.specialized_vars
    for what in (derived, 2 * symbol + 1):
        assert str(env.provenance(what)) == f"21 = 2*{symbol} + 1, where {symbol} is n"


# ---- the setting auto_specialize ----


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "helion"]


def test_auto_specialize_is_off():
    assert env_of(unspecialized, 48, 100).specialized_symbol_registry == {}


def test_auto_specialize_suggests(caplog):
    env = env_of(unspecialized, 48, 100, auto_specialize="suggest")
    assert env.specialized_symbol_registry == {}
    (message,) = said(caplog)
    assert "hl.specialize(x.size(1))" in message


def test_suggestions_change_nothing():
    plain = text_of(unspecialized, 48, 100)
    assert text_of(unspecialized, 48, 100, auto_specialize="suggest") == plain


@pytest.mark.parametrize("value", ["apply", True])
def test_auto_specialize_applies(value):
    kernel = helion.kernel(unspecialized.fn, static_shapes=False, auto_specialize=value)
    first, again, other = [
        kernel.bind(fake_cuda((torch.empty(shape),)))
        for shape in [(48, 100), (64, 100), (48, 200)]
    ]
    assert first is again and first is not other
    assert list(first.env.specialized_symbol_registry) == [100]
    assert "< 100" in first.to_triton_code()


def test_auto_specialize_leaves_static_and_specialized_kernels_alone(caplog):
    env_of(unspecialized, 48, 100, auto_specialize="suggest", static_shapes=True)
    env_of(row_sums, 48, 100, auto_specialize="suggest")
    assert said(caplog) == []


def test_auto_specialize_has_three_values():
    values = [Settings(auto_specialize=v).auto_specialize for v in (None, False, True)]
    assert values == ["off", "off", "apply"]
    with pytest.raises(ValueError, match="suggest"):
        Settings(auto_specialize="always")
