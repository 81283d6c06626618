"""HTML from nested calls: plain text is escaped, Markup is not escaped again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Complete HTML that can stand anywhere in an element."""

    __slots__ = ()


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """Return an element; an attribute of None is left out.

    `class_` is the class, `aria_label` the aria-label.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{words}>{join(inside)}</{name}>")


def join(parts: Iterable[object]) -> Markup:
    """Return the parts in a row; text is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts))


def table(caption: object, head: Sequence[object], *bodies: Markup, **attributes: object) -> Markup:
    """Return a table that scrolls by itself, also by keyboard, on a narrow screen."""
    titles = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in head)))
    element = tag("table", tag("caption", caption), titles, *bodies, **attributes)
    return tag("div", element, class_="wide", tabindex=0, role="region", aria_label=caption)


class Cell(Markup):
    """A cell of a table."""

    __slots__ = ()


def cell(*inside: object, **attributes: object) -> Cell:
    """Return a cell."""
    return Cell(tag("td", *inside, **attributes))


def number(figure: object) -> Cell:
    """Return a cell with a figure, aligned to the right."""
    return cell(figure, class_="n")


def row(name: object, *cells: object, **attributes: object) -> Markup:
    """Return a row of a table with a heading; contents that are not cells become cells."""
    wrapped = (content if isinstance(content, Cell) else cell(content) for content in cells)
    return tag("tr", tag("th", name, scope="row"), *wrapped, **attributes)


def group(name: object, columns: int, rows: Iterable[Markup]) -> Markup:
    """Return rows under a common heading."""
    return tag("tbody", tag("tr", tag("th", name, scope="rowgroup", colspan=columns)), *rows)
