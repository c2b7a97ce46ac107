"""Colours, marks and the figure that all drawings share."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from analysis.formatting import figure as number_text

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"


YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"


GREY = "#6B6B6B"


# Yellow is too pale for a line on white; grey stands in for it.
CYCLE = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)


DASHES = ("-", "--", "-.", ":", "-", "--", "-.", ":")


PANELS = (
    ("retention", "Retention of the emptied group", "1 ignores the emptied maps, 0 learnt empty"),
    ("dsc_labelled", "DSC of the labelled group", "without collapsed trials"),
    ("collapse", "Share of trials that collapsed", "the labelled group is lost as well"),
)
"""The heat maps of a plane: the figure, its title, what it says."""


# Blue through grey to yellow after Nuñez et al. (cividis), and white to a dark red: even in lightness, so that they
# read the same without colour.
_CIVIDIS = ((0, 34, 78), (66, 78, 108), (124, 123, 120), (187, 173, 108), (254, 232, 56))


_REDS = ((250, 250, 250), (253, 208, 162), (240, 130, 60), (170, 55, 10), (90, 20, 0))


def shade(value: float | None, name: str) -> tuple[str, str]:
    """Colour of a heat map's cell for a value in [0, 1], and of the ink on it; light grey where there is none."""
    if value is None or value != value:
        return "#E8E8E8", GREY
    stops = _REDS if name == "collapse" else _CIVIDIS
    place = min(max(value, 0.0), 1.0) * (len(stops) - 1)
    left = min(int(place), len(stops) - 2)
    red, green, blue = (round(a + (place - left) * (b - a)) for a, b in zip(stops[left], stops[left + 1], strict=True))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    return f"#{red:02x}{green:02x}{blue:02x}", "#FFFFFF" if dark else "#000000"


def new_figure(width: float = 6.4, height: float = 4.3) -> tuple[Figure, Axes]:
    """Make an empty figure [inches] of one pair of axes, without any global state."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def _log_axis(axes: Axes) -> None:
    """A logarithmic axis of ε whose ticks read as numbers do elsewhere, without the marks between decades."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def _legend_below(axes: Axes, columns: int = 2) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
