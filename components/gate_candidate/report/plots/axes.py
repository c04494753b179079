"""What all charts share: quiet axes, letters that can be read on an A4 page, and the two models' colours."""

from typing import Final, Literal

from matplotlib.axes import Axes

DENSITY: Final = 2
TEXT: Final = 12
"""Size of the smallest letters: a chart of 1240 pixels is 186 mm wide in print, where they have 7 points."""
BLUE, GREY, ORANGE, RED = "#0b4f8a", "#6b6b6b", "#e07b00", "#c0271a"


def plain(axes: Axes, *, grid: Literal["x", "y", "both"] = "y") -> Axes:
    """Leave of the frame only the two axes, with a faint grid below everything."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT)
    axes.grid(axis=grid, color="#d9d9d9", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def chart_name(name: str, *, most: int = 24) -> str:
    """Return a name as a chart can show it: its end where it is long, and no formula where it holds dollars."""
    return short_name(name, most=most).replace("$", r"\$")


def short_name(name: str, *, most: int) -> str:
    """Return a name of at most so many letters: of a longer one its end."""
    return name if len(name) <= most else "…" + name[1 - most :]
