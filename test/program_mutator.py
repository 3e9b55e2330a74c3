"""Makes a program wrong: odd statements, and pieces of expressions exchanged."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable

from test.program_text import Node, Program, quiet

# {v} is a value of the device, {t} a loop variable, {x} a host tensor.
ODD = (
    "w = missing + 1",
    "w = {v} + missing",
    "w = x0[{t}, {t}, {t}, {t}, {t}]",
    "{v}[0] = 1",
    "w = {t} * 2",
    "w = 1 + {t}",
    "w = torch.sin({t})",
    "w = {v} and {v}",
    "return 1",
    "w = lambda q: q",
    "w = x0['a']",
    "w = x0[1.5]",
    "w = x0[::-1]",
    "w = {v}.foo",
    "w = {v} @ 'a'",
    "w = {v} + 'a'",
    "w = {v} + None",
    "with open('q') as w: pass",
    "w = [1, 2][{t}.begin]",
    "w, u = {v}",
    "w = u = {v}",
    "w, *u = 1, 2, 3",
    "w = {v}.sum(7)",
    "w = {v}.sum('a')",
    "hl.atomic_add({v}, [{t}], 1)",
    "hl.atomic_add(x0, [{t}], 1, sem='bad')",
    "hl.atomic_add(x0, {t}, 1)",
    "hl.atomic_cas(x0, [0, 0, 0], 1)",
    "w = hl.dot({v}, {v})",
    "w = hl.dot({v}, 3)",
    "w = hl.zeros([-1])",
    "w = hl.zeros(3)",
    "w = hl.zeros([{v}])",
    "w = hl.zeros([2.5])",
    "w = hl.full([2])",
    "w = hl.arange('a')",
    "w = {v}.reshape(7, -1)",
    "w = {v}.view(3, 5, 7)",
    "w = x0 + 1",
    "w = x0.sum()",
    "w = {v} + x0",
    "x0 = x0 + 1",
    "n += 1",
    "x0 += 1",
    "w = hl.specialize(3)",
    "w = torch.cat([{v}, {v}], 9)",
    "w = {v}.item()",
    "w = int({v}.sum())",
    "w = float({v})",
    "w = bool({t})",
    "w = len({v})",
    "w = len({t})",
    "w = list({v})",
    "w = str({v})",
    "w = hl.tile(4)",
    "hl.barrier()",
    "w = {v}[{v} > 0]",
    "w = {v}.nonzero()",
    "w = torch.unique({v})",
    "w = hl.rand([{t}])",
    "w = hl.rand(seed=1)",
    "w = hl.reduce(3, {v}, 0)",
    "w = hl.reduce(torch.add, 3, 0)",
    "w = hl.reduce(lambda p, q: q, {v}, 9)",
    "w = hl.associative_scan(torch.add, {v}, 5)",
    "w = hl.associative_scan(torch.add, {v})",
    "w = hl.cumsum({v}, 'a')",
    "w = hl.split({v})",
    "w = hl.join({v}, 3)",
    "raise ValueError('odd')",
    "assert {v} > 0",
    "assert {t}.begin < 0",
    "w = {v}.to('cuda:7')",
    "w = {v}.to(torch.foo)",
    "w = {v}.to('int')",
    "w = {v}.to(3)",
    "del {v}",
    "global w",
    "import os",
    "w = {v} if {v} > 0 else 1",
    "w = {v}.resize_(3)",
    "w = {v}.copy_({v})",
    "{v}.zero_()",
    "{v}.add_('a')",
    "w = {v}.unbind(0)",
    "w = torch.split({v}, 2)",
    "w = {v}.unfold(0, 1, 1)",
    "w = torch.fft.fft({v})",
    "w = torch.linalg.svd({v})",
    "w = {v}.tolist()",
    "w = {v}.numpy()",
    "print({v})",
    "print('a', {t})",
    "hl.device_print('p', {v})",
    "hl.device_print({v})",
    "w = hl.load(x0, {t})",
    "w = hl.load({v}, [{t}])",
    "w = hl.load(x0, [{t}], extra_mask=3)",
    "w = hl.load(x0, [{t}, 0, 0], eviction_policy='bad')",
    "hl.store(x0, [0, 0, 0], 'a')",
    "hl.store(x0, [0, 0], 1)",
    "x0[0, 0, 0] = 'a'",
    "x0[0, 0, 0] = None",
    "x0[0, 0, 0] = [1]",
    "x0[0, 0, 0] = x0",
    "x0[{t}] = {v}",
    "x0 = 3",
    "x0.foo = 3",
    "w = [q for q in {v}]",
    "w = {{}}['a']",
    "w = [][0]",
    "w = (1, 2)[5]",
    "w = {v}.size(9)",
    "w = x0.size(9)",
    "w = x0.size('a')",
    "w = {v}.shape[9]",
    "w = {v} << 2.5",
    "w = {v} ^ {v}",
    "w = ~{v}",
    "w = not {v}",
    "w = -{t}",
    "w = {v} // 0",
    "w = {v} % 0",
    "w = 1 // 0",
    "w = n / 0",
    "w = n % 0",
    "w = {v} in (1, 2)",
    "w = {t} == {t}",
    "w = {t} is None",
    "w = {v}.softmax()",
    "w = torch.softmax({v})",
    "w = torch.where({v} > 0)",
    "w = torch.where({v}, {v}, {v})",
    "w = torch.zeros([{t}], dtype=3)",
    "w = torch.full([{t}], {v})",
    "w = torch.gather({v}, 0, {v})",
    "w = torch.arange({v})",
    "w = torch.tensor([1, 2])",
    "w = torch.tensor({v})",
    "w = {v}.T.T.T.view(-1)",
    "w = {v}[None, None, None, 0, 0, 0, 0]",
    "w = {v}[..., ...]",
    "w = {v}[{t}]",
    "w = {v}[{t}.begin]",
    "w = x0[[{t}, {t}]]",
    "w = x0[{t}, [0, 1]]",
    "w = x0[{t}, (0, 1)]",
    "w = x0[..., ..., 0]",
    "w = x0[{v}]",
    "w = x0[{v}, {v}]",
    "w = x0[99]",
    "w = x0[-99]",
    "w = x0[:n]",
    "w = x0[n:]",
    "w = x0[::n]",
    "w = x0[::0]",
    "w = x0[{v}:]",
    "w = x0[True]",
    "w = helion.cdiv(n, 2) + {v}",
    "w = generated({v})",
    "w = hl.register_block_size(4)",
    "w = f'{{{v}}}'",
    "w = {v}.foo()",
    "w = n.foo",
    "w = n()",
    "w = n[0]",
    "w = {t}[0]",
    "w = {t}.foo",
    "w = {t}()",
    "pass",
    "{v}",
    "'text'",
    "w: int = {v}",
    "w: int",
    "w = {v}; w += 'a'",
    "w = {v}; w @= w",
    "w = {v}; w = 3; w = w + {v}",
    "w = (q := {v})",
    "w = (yield)",
    "w = max({v}, {v})",
    "w = max({v}.sum(), n)",
    "w = max({v})",
    "w = sorted([{v}, {v}])",
    "w = abs({t}.begin)",
    "w = round({v})",
    "w = divmod(n, 2)",
    "w = pow({v}, 2)",
    "w = isinstance({v}, torch.Tensor)",
    "w = hasattr({t}, 'begin')",
    "w = getattr({v}, 'sum')()",
    "w = type({v})",
    "w = id({v})",
    "w = map(abs, [{v}])",
    "w = list(map(abs, [{v}]))[0]",
    "w = list(reversed([{v}, n]))[0]",
    "w = any([n > 1])",
    "w = dict(a={v})['a']",
    "w = set([1])",
    "w = math.sin(n)",
    "w = math.sin({v})",
    "w = math.floor(f)",
    "w = n ** 2 + {v}",
    "w = f ** 2 + {v}",
    "w = n / 2 + {v}",
    "w = ({t}.begin > 0) + 1",
    "w = {v} + ({t}.begin > 0)",
    "w = {t}.index[0]",
    "w = {t}.index.sum()",
    "w = {t}.end - {t}.begin",
    "w = hl.zeros([{t}.end - {t}.begin])",
    "w = hl.zeros([{t}.block_size])",
    "w = hl.zeros([{t}, {t}])",
    "w = hl.zeros([n])",
    "w = hl.full([{t}], n)",
    "w = torch.zeros(n)",
    "w = x0.new_zeros(n)",
    "w = {v}.expand(n, 3)",
    "w = {v}.reshape(n)",
    "w = {v}.repeat(n)",
)
BLOCKS = (
    ("for w in {v}:", "pass"),
    ("for w in n:", "pass"),
    ("for w in 'ab':", "pass"),
    ("for w in {t}:", "pass"),
    ("for w, u in hl.tile(n):", "pass"),
    ("for w in hl.tile({t}):", "pass"),
    ("for w in hl.tile([a, b]):", "u = x0[w]"),
    ("for w in hl.tile(8, 4):", "pass"),
    ("for w in hl.tile(a, block_size='a'):", "pass"),
    ("for w in hl.tile(a, block_size=[1, 2]):", "pass"),
    ("for w in hl.tile(a, block_size=n):", "u = hl.zeros([w])"),
    ("for w in hl.tile(2.5):", "pass"),
    ("for w in hl.tile({v}):", "pass"),
    ("for w in hl.tile():", "pass"),
    ("for w in hl.static_range(n):", "pass"),
    ("for w in hl.grid(a, step=0):", "pass"),
    ("for w in hl.grid(2.5):", "pass"),
    ("for w in range({v}):", "pass"),
    ("for w in range(0, 4, 0):", "pass"),
    ("for w in zip([1], [1, 2]):", "pass"),
    ("for w in hl.jagged_tile({v}):", "pass"),
    ("for w in hl.reduction(a):", "{v} = {v} + 1"),
    ("for w in hl.tile(a):", "{v} = {v}.sum()"),
    ("for w in hl.tile(a):", "{v} = 3"),
    ("for w in hl.tile(a):", "{v} = {v}.to(torch.int16)"),
    ("for w in hl.tile(a):", "break"),
    ("for w in range(n):", "continue"),
    ("for w in range(n):", "return"),
    ("while {v} > 0:", "pass"),
    ("while True:", "pass"),
    ("while n > 0:", "pass"),
    ("while {t}:", "pass"),
    ("if {v} > 0:", "pass"),
    ("if {t}:", "pass"),
    ("if n:", "{v} = 3"),
    ("if n > 1:", "{v} = {v}.sum()"),
    ("if n > 1:", "new = 3"),
    ("if 'a':", "new = 3"),
    ("def w(q):", "return q + 1"),
    ("class W:", "pass"),
    ("with torch.no_grad():", "pass"),
    ("async def w():", "pass"),
    ("match n:", "case 1: pass"),
)
NAMES = ("n", "f", "a", "b", "x0", "torch", "hl", "missing", "flag", "scaled", "None")
CONSTANTS = (0, 1, -1, 7, 1000, 2.5, "a", None, True, 2**40)
ATTRIBUTES = ("sum", "shape", "begin", "index", "T", "dtype", "foo", "exp", "item")
OPERATORS = (ast.Add, ast.Sub, ast.MatMult, ast.FloorDiv, ast.Pow, ast.LShift, ast.Mod)


def mutate(program: Program, rng: random.Random) -> Program:
    """Return a copy that is likely wrong in one or two places."""
    program = copy.copy(program)
    program.is_wrong = True
    for _ in range(rng.choice([1, 1, 2])):
        before = program.body
        program.body = copy.deepcopy(before)
        change = _insert if rng.random() < 0.5 else _exchange
        change(program, rng)
        try:
            with quiet():
                compile(program.source(), "", "exec")
        except (SyntaxError, ValueError):
            program.body = before  # no program at all
    return program


def _blocks(body: list[Node], is_device: bool) -> list[list[Node]]:
    """Return all blocks of device code, outermost first."""
    found = [body] if is_device else []
    for node in body:
        for inner in (node.body, node.orelse):
            if inner:
                found += _blocks(inner, True)
    return found


def _names(program: Program, prefix: str) -> list[str]:
    tree = ast.parse(program.source())
    stored = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    return sorted({n.id for n in stored if n.id[0] == prefix and n.id[1:].isdigit()})


def _insert(program: Program, rng: random.Random) -> None:
    """Put an odd statement somewhere in device code."""
    block = rng.choice(_blocks(program.body, False))
    at = rng.randint(0, len(block))
    before = [n.head.split(" = ")[0] for n in block[:at] if n.head.startswith("v")]
    holes = {
        "v": rng.choice(before or _names(program, "v") or ["x0"]),
        "t": rng.choice(_names(program, "t") or ["n"]),
    }
    if rng.random() < 0.8:
        block.insert(at, Node(rng.choice(ODD).format(**holes)))
        return
    head, body = rng.choice(BLOCKS)
    block.insert(at, Node(head.format(**holes), [Node(body.format(**holes))]))


def _exchange(program: Program, rng: random.Random) -> None:
    """Change one node of one statement."""
    nodes = [n for block in _blocks(program.body, True) for n in block]
    rng.shuffle(nodes)
    for node in nodes:
        is_block = node.head.endswith(":")
        text = node.head + " pass" if is_block else node.head
        tree = ast.parse(text)
        places = [n for n in ast.walk(tree) if type(n) in CHANGES]
        if not places:
            continue
        place = rng.choice(places)
        CHANGES[type(place)](place, program, rng)
        try:
            found = ast.unparse(tree)
            ast.parse(found)
        except (SyntaxError, ValueError, TypeError):
            continue
        node.head = found.splitlines()[0] if is_block else found
        return


def _change_name(node: ast.Name, program: Program, rng: random.Random) -> None:
    names = [*NAMES, *_names(program, "v"), *_names(program, "t")]
    node.id = rng.choice(names)


def _change_constant(node: ast.Constant, program: Program, rng: random.Random) -> None:
    node.value = rng.choice(CONSTANTS)


def _change_operator(node: ast.BinOp, program: Program, rng: random.Random) -> None:
    node.op = rng.choice(OPERATORS)()


def _change_attribute(
    node: ast.Attribute, program: Program, rng: random.Random
) -> None:
    node.attr = rng.choice(ATTRIBUTES)


def _change_call(node: ast.Call, program: Program, rng: random.Random) -> None:
    if node.args and rng.random() < 0.5:
        node.args.pop(rng.randrange(len(node.args)))
    elif node.keywords and rng.random() < 0.5:
        node.keywords[0].arg = "foo"
    else:
        node.args.append(ast.Name(rng.choice([*NAMES, *_names(program, "v")])))


def _change_subscript(
    node: ast.Subscript, program: Program, rng: random.Random
) -> None:
    extra = ast.Name(rng.choice([*NAMES, *_names(program, "t"), *_names(program, "v")]))
    elements = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    elements = list(elements)
    if rng.random() < 0.5:
        elements.insert(rng.randint(0, len(elements)), extra)
    else:
        elements[rng.randrange(len(elements)) if elements else 0 :] = [extra]
    node.slice = ast.Tuple(elements, ast.Load())


CHANGES: dict[type[ast.AST], Callable[..., None]] = {
    ast.Name: _change_name,
    ast.Constant: _change_constant,
    ast.BinOp: _change_operator,
    ast.Attribute: _change_attribute,
    ast.Call: _change_call,
    ast.Subscript: _change_subscript,
}
