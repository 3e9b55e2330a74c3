"""How the text of an error comes about: filled templates, hints and places."""

from __future__ import annotations

import re
from typing import Protocol

_HOLE = re.compile(r"\{(\w+)\}")


class Location(Protocol):
    """A place in user code; ``line`` is its source text, ``col`` counts from zero."""

    @property
    def filename(self) -> str: ...
    @property
    def lineno(self) -> int: ...
    @property
    def function(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def col(self) -> int: ...


def location_block(location: Location) -> str:
    """Return the ``While processing:`` lines with the source line and a caret."""
    source = location.line.splitlines()[0].rstrip() if location.line else ""
    shown = source.lstrip()
    caret = min(max(location.col - (len(source) - len(shown)), 0), len(shown))
    where = f'  File "{location.filename}", line {location.lineno}'
    block = f"\nWhile processing:\n{where}, in {location.function}"
    return f"{block}\n    {shown}\n    {' ' * caret}^" if shown else block


def wrapped_text(value: object) -> object:
    """Return ``TypeName: text`` of an exception; other values stay."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return value


def hint_line(hint: str) -> str:
    """Return the line that tells the fix, if there is one."""
    return f"\nhint: {hint}" if hint else ""


def holes(template: str) -> list[str]:
    """Return the distinct hole names of ``template`` in order."""
    return list(dict.fromkeys(_HOLE.findall(template)))


def fill(template: str, facts: dict[str, object]) -> str:
    """Return ``template`` with its holes filled; unknown ones get a question mark."""
    return _HOLE.sub(lambda hole: str(facts.get(hole[1], "?")), template)


def compose_message(
    template: str, args: tuple[object, ...], facts: dict[str, object]
) -> str:
    """Return the text of an error made of these arguments; nothing is lost."""
    names = holes(template)
    missing = [name for name in names if name not in facts]
    values = dict(facts)
    extras: list[str] = []
    if missing and len(args) >= len(missing):
        values.update(zip(missing, args))
        extras = [str(arg) for arg in args[len(missing) :]]
    elif args and not (facts.keys() & set(names)):
        # Too few values for the holes: the caller wrote the sentence himself.
        template = template if not names else ""
        extras = [str(arg) for arg in args]
    else:
        extras = [str(arg) for arg in args]
    unused = [f"{k}={v}" for k, v in facts.items() if k not in names and k != "hint"]
    if unused:
        extras.append(", ".join(unused))
    parts = [fill(template, values), *extras]
    return ": ".join(part for part in parts if part)
