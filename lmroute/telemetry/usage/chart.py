"""Calls, errors and latency over time: as an SVG file that needs nothing else, and as a line of text.

The SVG has no script and no style from elsewhere, is told to screen readers by its title and description, and is dark
where its reader is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmroute.telemetry.usage.answers import Point, Series

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.:-=+*#"
"""For streams that cannot hold the other ones."""

_WIDTH, _HEIGHT = 760, 400
_SIZE = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
_LEFT, _RIGHT = 64, 744
_COUNTS = (64, 204)  # top and bottom of the panel of calls
_TIMES = (256, 356)  # and of that of latencies
_LONGEST_TITLE = 60
_LABELS = 6
_LABEL_WIDTH = 84
_DAYS = 2  # from here on midnight needs no hour

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 } .end { text-anchor: end } .mid { text-anchor: middle }
.back { fill: #ffffff } .axis { stroke: #59636e } .grid { stroke: #d1d9e0 }
.calls { fill: #0969da } .errors { fill: #bc4c00 } .p95 { fill: none; stroke: #8250df; stroke-width: 2 }
.dot { fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .back { fill: #0d1117 } .axis { stroke: #9198a1 } .grid { stroke: #3d444d }
.calls { fill: #4493f8 } .errors { fill: #f0883e } .p95 { stroke: #ab7df8 } .dot { fill: #ab7df8 } }
@media (forced-colors: active) {
text { fill: CanvasText } .back { fill: Canvas } .calls { fill: CanvasText } .errors { fill: Highlight }
.p95 { stroke: CanvasText } .dot { fill: CanvasText } }
"""


def sparkline(values: Sequence[int], bars: str = BARS) -> str:
    """Numbers as a line of text, the largest as the tallest bar; what is not 0 is never as low as 0."""
    top = max(values, default=0)
    steps = len(bars) - 1
    return "".join(bars[-(-value * steps // top)] if top else bars[0] for value in values)


def svg(series: Series, title: str) -> str:
    """The chart as a document. ``title`` is cut where it would not fit."""
    points = series.points
    calls, errors = sum(p.calls for p in points), sum(p.errors for p in points)
    shown = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" {_SIZE}>',
        f'<title id="title">{_text(title)}</title>',
        f'<desc id="desc">{_text(_description(series, calls, errors))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="24">{_text(shown)}</text>',
        *_counts(series, calls, errors),
        *_latencies(series),
        *_time_axis(points),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _counts(series: Series, calls: int, errors: int) -> list[str]:
    points = series.points
    top = _round_up(max((p.calls for p in points), default=0))
    width = (_RIGHT - _LEFT) / max(1, len(points))
    lines = [
        f'<rect class="calls" x="{_LEFT}" y="38" width="10" height="10"/>',
        f'<text x="{_LEFT + 16}" y="48">{calls:,} call{_s(calls)}, a bar is {_stretch(series.minutes)}</text>',
        f'<rect class="errors" x="{_LEFT + 320}" y="38" width="10" height="10"/>',
        f'<text x="{_LEFT + 336}" y="48">{errors:,} of them failed</text>',
        *_scale(_COUNTS, top),
    ]
    for number, point in enumerate(points):
        for name, count in (("calls", point.calls), ("errors", point.errors)):
            if count:
                y = _y(_COUNTS, count, top)
                x = _LEFT + number * width
                size = f'width="{max(0.5, width - 1):.1f}" height="{_COUNTS[1] - y:.1f}"'
                lines.append(f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" {size}/>')
    return lines


def _latencies(series: Series) -> list[str]:
    points = series.points
    top = _round_up(max((p.p95_ms or 0 for p in points), default=0))
    width = (_RIGHT - _LEFT) / max(1, len(points))
    about = ", about" if series.is_approximate else ""
    lines = [f'<text x="{_LEFT}" y="{_TIMES[0] - 14}">95 % of the calls took at most (ms{about})</text>']
    lines += _scale(_TIMES, top)
    for stretch in _stretches(points):
        spots = [(_LEFT + (at + 0.5) * width, _y(_TIMES, ms, top)) for at, ms in stretch]
        if len(spots) == 1:
            lines.append(f'<circle class="dot" cx="{spots[0][0]:.1f}" cy="{spots[0][1]:.1f}" r="2.5"/>')
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            lines.append(f'<polyline class="p95" points="{path}"/>')
    return lines


def _stretches(points: Sequence[Point]) -> list[list[tuple[int, float]]]:
    """The points that have a latency, those without a gap together."""
    stretches: list[list[tuple[int, float]]] = [[]]
    for at, point in enumerate(points):
        if point.p95_ms is not None:
            stretches[-1].append((at, point.p95_ms))
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _scale(panel: tuple[int, int], top: float) -> list[str]:
    lines = []
    for share in (0, 0.5, 1):
        y = panel[1] - share * (panel[1] - panel[0])
        kind = "grid" if share else "axis"
        lines.append(f'<line class="{kind}" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>')
        lines.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{_number(share * top)}</text>')
    return lines


def _time_axis(points: Sequence[Point]) -> list[str]:
    width = (_RIGHT - _LEFT) / max(1, len(points))
    every = -(-len(points) // _LABELS) or 1
    is_long = len(points) > 1 and (points[-1].at - points[0].at).days >= _DAYS
    lines = []
    for number in range(0, len(points), every):
        x = _LEFT + number * width
        at = points[number].at
        told = f"{at:%m-%d}" if is_long and not at.hour else f"{at:%m-%d %H:%M}"
        if x <= _RIGHT - _LABEL_WIDTH:  # the last one would leave the picture
            lines.append(f'<text x="{x:.1f}" y="{_TIMES[1] + 18}">{told}</text>')
        lines.append(f'<line class="axis" x1="{x:.1f}" y1="{_TIMES[1]}" x2="{x:.1f}" y2="{_TIMES[1] + 4}"/>')
    lines.append(f'<text class="end" x="{_RIGHT}" y="{_HEIGHT - 6}">time in UTC</text>')
    return lines


def _y(panel: tuple[int, int], value: float, top: float) -> float:
    return panel[1] - (panel[1] - panel[0]) * (value / top if top else 0)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, …, so that the scale has round numbers."""
    size = 1.0
    while size < value:
        for factor in (2, 5, 10):
            if size * factor >= value:
                return size * factor
        size *= 10
    return size


def _description(series: Series, calls: int, errors: int) -> str:
    points = series.points
    if not points:
        return "There are no calls."
    slowest = max((p.p95_ms for p in points if p.p95_ms is not None), default=0.0)
    busiest = max(points, key=lambda point: point.calls)
    return (
        f"{calls:,} call{_s(calls)}, {errors:,} of them failed, from {points[0].at:%Y-%m-%d %H:%M} UTC on in "
        f"{len(points)} stretches of {_stretch(series.minutes)}. The busiest began at {busiest.at:%Y-%m-%d %H:%M} with "
        f"{busiest.calls:,} calls. In the slowest, 95 % of the calls took at most {slowest:,.0f} ms."
    )


def _stretch(minutes: int) -> str:
    for size, unit in ((1440, "day"), (60, "hour")):
        if minutes % size == 0:
            return f"{minutes // size} {unit}{_s(minutes // size)}"
    return f"{minutes} minute{_s(minutes)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _number(value: float) -> str:
    """For a scale, where there is room for seven digits and signs."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size:
            return f"{value / size:,.0f}{unit}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.1f}"


def _text(text: str) -> str:
    return escape("".join(c if c.isprintable() else " " for c in text))
