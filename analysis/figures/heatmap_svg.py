"""A plane of the map as inline SVG for the report: no library, each cell a link that tells its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from analysis.figures.style import PANELS, shade
from analysis.formatting import SIGNS, figure, fixed, tally
from analysis.results.planes import EpsAxis, in_order, spans_of

LEFT, TOP, ROW, BOTTOM, RIGHT, WIDTH = 62, 4, 34, 46, 6, 400
"""Margins, height of a row and width of the drawing [px at its own size]."""
NUMBER = 31
"""Width from which a cell has room for its number."""


def plane_svgs(
    plane: Mapping[str, Any], links: Mapping[str, str], predicted: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Draw a plane's three heat maps: each with its ``title`` and ``drawing``.

    ``links``: address of each cell's run, without one the cell's row in the page. ``predicted``: the crossings that
    were expected, of ``analysis.results.prediction_check.foretell``, ``value`` and ``eps`` [voxels].
    """
    return [{"title": title, "drawing": _panel(plane, name, title, links, predicted)} for name, title, _ in PANELS]


def _panel(
    plane: Mapping[str, Any],
    name: str,
    title: str,
    links: Mapping[str, str],
    predicted: Sequence[Mapping[str, Any]],
) -> Markup:
    values = [row["value"] for row in plane["rows"]]
    height = TOP + ROW * len(values) + BOTTOM
    top = {str(value): TOP + ROW * (len(values) - 1 - number) for number, value in enumerate(values)}
    spans = spans_of(plane)
    low, high = min(left for left, _ in spans), max(right for _, right in spans)

    def across(place: float) -> float:
        return LEFT + (place - low) * (WIDTH - LEFT - RIGHT) / (high - low)

    parts: list[str] = []
    numbers: list[str] = []
    for cell, span in zip(plane["cells"], spans, strict=True):
        left, right = (across(end) for end in span)
        parts.append(_cell(cell, name, plane["y"], left, right, top[str(cell["y"])], links))
        if right - left >= NUMBER:
            numbers.append(_number(cell[name], name, (left + right) / 2, top[str(cell["y"])] + ROW / 2 + 4))
    if plane["x"] == "eps":
        axis = EpsAxis(cell["x"] for cell in plane["cells"])
        ticks = [(across(axis.place(10**value)), figure(10**value, 1)) for value in axis.log10_eps]
        for row in plane["rows"]:
            parts += _marks(row, axis, across, top[str(row["value"])])
        for each in predicted:
            if str(each["value"]) in top:
                parts.append(_diamond(across(axis.place(each["eps"])), top[str(each["value"])] + ROW / 2))
    else:
        columns = in_order(cell["x"] for cell in plane["cells"])
        ticks = [(across(number + 0.5), _value(value)) for number, value in enumerate(columns)]
    parts += [*numbers, *_axes(plane, values, top, _spread(ticks), height), *_scale(name, height)]
    text = Markup('<svg class="heat" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return text.format(
        WIDTH, height, f"{title} over {_sign(plane['x'])} and {_sign(plane['y'])}", Markup("".join(parts))
    )


def _cell(
    cell: Mapping[str, Any], name: str, y: str, left: float, right: float, top: float, links: Mapping[str, str]
) -> str:
    value = cell[name]
    fill, _ = shade(value, name)
    told = (
        f"{_sign(y)} = {_value(cell['y'])}, ε = {figure(cell['eps'])} voxels ({figure(cell['eps_in_v_hat'])} v̂): "
        f"retention {fixed(cell['retention'])}, DSC labelled {fixed(cell['dsc_labelled'])}, emptied "
        f"{fixed(cell['dsc_emptied'])}; {tally(cell['outcomes'])}; cell {cell['cell']}"
    )
    # A run opens beside the page: a frame that shows the page may lead nowhere else.
    run = links.get(cell["cell"])
    target = f'{escape(run)}" target="_blank" rel="noopener' if run else f"#cell-{cell['cell']}"
    box = f'x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{ROW}" fill="{fill}"'
    return f'<a href="{target}" data-told="{escape(told)}"><rect {box}/><title>{escape(told)}</title></a>'


def _number(value: float | None, name: str, x: float, y: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle" class="number"'
    return f'<text {place} fill="{shade(value, name)[1]}">{fixed(value)}</text>'


def _scale(name: str, height: int) -> list[str]:
    """What the colours mean, from 0 to 1."""
    left, y = WIDTH - RIGHT - 96, height - 16
    steps = [
        f'<rect x="{left + 16 * step}" y="{y}" width="16" height="10" fill="{shade(step / 4, name)[0]}"/>'
        for step in range(5)
    ]
    ends = ((left - 10, "0"), (left + 84, "1"))
    return [*steps, *(f'<text x="{x}" y="{y + 10}">{text}</text>' for x, text in ends)]


def _marks(row: Mapping[str, Any], axis: EpsAxis, across: Callable[[float], float], top: float) -> list[str]:
    """The band and the line of the crossing, v̂ and the roots of eq. 5, over one row."""
    marks = []
    scanned = 10 ** axis.log10_eps[0], 10 ** axis.log10_eps[-1]
    crossing = row["crossing"]
    if crossing is not None:
        low, high = (
            across(axis.place(crossing[end] if crossing[end] is not None else scanned[number]))
            for number, end in enumerate(("low", "high"))
        )
        marks.append(f'<rect x="{low:.1f}" y="{top + 2}" width="{high - low:.1f}" height="{ROW - 4}" class="band"/>')
        middle = across(axis.place(crossing["eps"]))
        if not crossing["step"]:
            marks += _line(middle, top, "crossing")
    for root in row["roots"]:
        for eps in root["eps"]:
            marks += _line(across(axis.place(eps)), top, "vhat" if len(root["eps"]) == 1 else "root")
    return marks


def _line(x: float, top: float, kind: str) -> list[str]:
    """A mark across a row, with a white line beneath that sets it off from dark cells."""
    ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + ROW}"'
    return [f'<line {ends} class="halo"/>', f'<line {ends} class="{kind}"/>']


def _diamond(x: float, y: float) -> str:
    return f'<path d="M{x - 6:.1f} {y:.1f}l6 -7 6 7 -6 7z" class="foretold"/>'


def _axes(
    plane: Mapping[str, Any],
    values: Sequence[Any],
    top: Mapping[str, float],
    ticks: Sequence[tuple[float, str]],
    height: int,
) -> list[str]:
    texts = [
        f'<text x="{LEFT - 6}" y="{top[str(value)] + ROW / 2 + 4}" text-anchor="end">{escape(_value(value))}</text>'
        for value in values
    ]
    texts += [
        f'<text x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{escape(text)}</text>' for x, text in ticks
    ]
    name = "ε [voxels]" if plane["x"] == "eps" else _sign(plane["x"])
    texts.append(
        f'<text x="{(LEFT + WIDTH) / 2}" y="{height - BOTTOM + 38}" text-anchor="middle">{escape(name)}</text>'
    )
    texts.append(f'<text x="2" y="{height - BOTTOM + 38}">{escape(_sign(plane["y"]))}</text>')
    return texts


def _spread(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leave out ticks that would touch the one before."""
    kept: list[tuple[float, str]] = []
    for x, text in ticks:
        if not kept or x - kept[-1][0] > 4 * (len(text) + len(kept[-1][1])) + 6:
            kept.append((x, text))
    return kept


def _sign(name: str) -> str:
    return SIGNS.get(name, name)


def _value(value: Any) -> str:
    return figure(value) if isinstance(value, float) else str(value)
