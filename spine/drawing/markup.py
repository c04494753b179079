"""Small pieces of HTML: every string that enters is escaped here, and numbers are written one way."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

from spine.metrics.scores import ScanScores

NOTHING: Final = "–"


@dataclass(frozen=True)
class Column:
    """A column's heading and whether it holds numbers, words, or the heading of its row."""

    heading: str
    kind: Literal["number", "words", "row"] = "number"


@dataclass(frozen=True)
class Markup:
    """HTML that is escaped already."""

    html: str


def number(value: float | None, *, digits: int = 3) -> str:
    """Write a score; what is unknown is a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, *, digits: int = 3) -> str:
    """Write a difference with its sign."""
    return NOTHING if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Write a rate as a percentage."""
    return NOTHING if value is None else f"{value:.1%}".replace("%", " %")


def count(value: float | None) -> str:
    """Write a whole number, one with a fraction in four digits."""
    return NOTHING if value is None else f"{value:.4g}".replace("-", "−")


def shift_words(scan: ScanScores) -> str:
    """Say at which level a scan's vertebrae were named."""
    if scan.level_shift is None:
        if scan.bone_dice is None:
            return "level not known"
        return "no bone in common within three levels" if scan.bone_dice else "no bone in common"
    if scan.level_shift == 0:
        return "named at the right level"
    size = abs(scan.level_shift)
    return f"named {size} level{'s' if size > 1 else ''} too {'low' if scan.level_shift > 0 else 'high'}"


def tag(name: str, *content: str | Markup, **attributes: str) -> Markup:
    """Return an element; strings are escaped, a trailing underscore in an attribute's name is dropped."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{joined(content).html}</{name}>")


def joined(parts: Iterable[str | Markup], separator: str = "") -> Markup:
    """Join parts; strings among them are escaped."""
    return Markup(separator.join(part.html if isinstance(part, Markup) else escape(part) for part in parts))


def image(png: bytes, *, alt: str) -> Markup:
    """Embed a PNG."""
    data = base64.b64encode(png).decode("ascii")
    return Markup(f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">')


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str | Markup]], *, kind: str = "plain"
) -> Markup:
    """Return a table with a caption and scoped headings, in a frame that scrolls where the screen is narrow.

    ``kind`` is its class: what the style has widths for.
    """
    head = tag("tr", *(tag("th", column.heading, scope="col", class_=column.kind) for column in columns))
    body = (tag("tr", *(_cell(column, cell) for column, cell in zip(columns, row, strict=True))) for row in rows)
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_=kind)
    return tag("div", whole, class_="table")


def section(heading: str, *content: str | Markup) -> Markup:
    """Return a section under a heading."""
    return tag("section", tag("h2", heading), *content)


def _cell(column: Column, cell: str | Markup) -> Markup:
    if column.kind == "row":
        return tag("th", cell, scope="row", class_="row")
    return tag("td", cell, class_=column.kind)
