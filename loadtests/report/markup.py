"""HTML from nested calls: plain text is escaped, what was made here is not escaped again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """HTML that is whole and safe to put anywhere in an element."""

    __slots__ = ()


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """An element; `class_` is its class, `aria_label` its aria-label; what is None is left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{words}>{join(inside)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts))


def table(caption: object, head: Sequence[object], *bodies: Markup, **attributes: object) -> Markup:
    """A table that scrolls by itself, also by keyboard, where the screen is too narrow for it."""
    titles = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in head)))
    whole = tag("table", tag("caption", caption), titles, *bodies, **attributes)
    return tag("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


class Cell(Markup):
    """A cell of a table."""

    __slots__ = ()


def cell(*inside: object, **attributes: object) -> Cell:
    return Cell(tag("td", *inside, **attributes))


def number(figure: object) -> Cell:
    """A cell with a figure in it, set to the right."""
    return cell(figure, class_="n")


def row(name: object, *cells: object, **attributes: object) -> Markup:
    """A row of a table; its first cell is its heading, and what is no cell yet becomes one."""
    made = (one if isinstance(one, Cell) else cell(one) for one in cells)
    return tag("tr", tag("th", name, scope="row"), *made, **attributes)


def group(name: object, columns: int, rows: Iterable[Markup]) -> Markup:
    """Rows under a heading of their own."""
    return tag("tbody", tag("tr", tag("th", name, scope="rowgroup", colspan=columns)), *rows)
