"""Breaks long lines of emitted text inside their brackets."""

from __future__ import annotations

WIDTH = 88
_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\""


def wrap_lines(text: str, width: int = WIDTH) -> str:
    """Return Python text with lines of at most ``width`` where brackets allow it.

    A bracket that would make its line too long gets its items on lines of their own.
    """
    if '"""' in text or "'''" in text:
        # A line may be inside a string here.
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if len(line) <= width else _wrapped(line, width)
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    found = None if line.lstrip().startswith("#") else _last_bracket(line)
    if found is None or line[found[0]] != "(":
        return _wrapped_sum(line, indent)
    start, stop = found
    items = _items(line[start + 1 : stop])
    inner = indent + "    "
    if len(items) > 1 or items[0].endswith(")"):
        lines = _filled(items, inner, width)
    else:
        lines = [inner + term for term in _terms(items[0])]
    return [line[: start + 1], *lines, indent + line[stop:]]


def _wrapped_sum(line: str, indent: str) -> list[str]:
    """Put the terms of an assigned sum on lines of their own."""
    target, equals, value = line.partition(" = ")
    terms = _terms(value)
    if not equals or len(terms) == 1:
        return [line]
    lines = [f"{indent}    {term}" for term in terms]
    return [f"{target} = (", *lines, f"{indent})"]


def _terms(value: str) -> list[str]:
    """Split before the operators outside brackets that bind the least."""
    for operators in ((" + ", " & "), (" * ",)):
        depth, start = 0, 0
        terms: list[str] = []
        for place, char in _code(value):
            depth += (char in _OPEN) - (char in _CLOSE)
            if not depth and value[place : place + 3] in operators:
                terms.append(value[start:place])
                start = place + 1
        if terms:
            return [*terms, value[start:]]
    return [value]


def _filled(items: list[str], indent: str, width: int) -> list[str]:
    """Put items on as few lines as hold them; a trailing comma ends the last."""
    lines: list[str] = []
    for position, item in enumerate(items):
        last = position == len(items) - 1
        piece = item if last else f"{item},"
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(indent + piece)
    return [
        part
        for line in lines
        for part in ([line] if len(line) <= width else _wrapped(line, width))
    ]


def _last_bracket(line: str) -> tuple[int, int] | None:
    """Return the outermost bracket that closes last, if it holds anything."""
    stack: list[int] = []
    found = None
    for place, char in _code(line):
        if char in _OPEN:
            stack.append(place)
        elif char in _CLOSE:
            if not stack:
                return None
            start = stack.pop()
            if not stack and place > start + 1:
                found = (start, place)
    return None if stack else found


def _items(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    depth, start = 0, 0
    items: list[str] = []
    for place, char in _code(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if char == "," and not depth:
            items.append(text[start:place].strip())
            start = place + 1
    rest = text[start:].strip()
    # The comma of a tuple with one item stays.
    return [*items, rest] if rest else [*items[:-1], f"{items[-1]},"]


def _code(text: str) -> list[tuple[int, str]]:
    """Return places and characters outside of string literals."""
    result: list[tuple[int, str]] = []
    quote, skip = "", False
    for place, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char in _QUOTES:
            quote = char
        else:
            result.append((place, char))
    return result
