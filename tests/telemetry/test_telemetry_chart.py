"""The chart of usage: a well-formed picture whose parts stay where they belong."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.telemetry.usage.chart import _STYLE, BARS, PLAIN_BARS, sparkline, svg
from lmroute.telemetry.usage.queries import Point, Series

START = datetime(2026, 11, 20, tzinfo=UTC)
NS = "{http://www.w3.org/2000/svg}"
MS = st.none() | st.floats(0, 1e9)
POINTS = st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 1), MS), max_size=61)


def series_of(points, minutes=60, *, is_approximate=False):
    made = [
        Point(START + timedelta(minutes=minutes * at), calls, int(calls * share), ms if calls else None)
        for at, (calls, share, ms) in enumerate(points)
    ]
    return Series(minutes, tuple(made), is_approximate)


def drawn(series, title="Calls"):
    return ET.fromstring(svg(series, title))


def numbers(element, *names):
    return [float(element.get(name)) for name in names]


@given(POINTS, st.sampled_from([1, 15, 180, 1440]), st.booleans())
def test_nothing_leaves_the_picture(points, minutes, is_approximate):
    root = drawn(series_of(points, minutes, is_approximate=is_approximate))
    for rect in root.iter(f"{NS}rect"):
        x, y, width, height = (float(rect.get(name) or 0) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= 760.05
        assert 0 <= y <= y + height <= 400
        if rect.get("class") in {"calls", "errors"} and rect.get("y") != "38":
            assert 63.9 <= y <= y + height <= 204.1, "a bar stays in its panel"
    for line in root.iter(f"{NS}polyline"):
        for pair in line.get("points").split():
            x, y = map(float, pair.split(","))
            assert 64 <= x <= 744
            assert 255.9 <= y <= 356.1
    for text in root.iter(f"{NS}text"):
        x, y = numbers(text, "x", "y")
        width = 6.8 * len(text.text)
        left, right = (x - width, x) if "end" in (text.get("class") or "") else (x, x + width)
        assert 0 <= left <= right <= 760, text.text
        assert 0 < y < 400


@given(st.integers(0, 61), st.sampled_from([1, 15, 180, 1440]))
def test_labels_do_not_overlap(count, minutes):
    labels = [t for t in drawn(series_of([(1, 0, 1.0)] * count, minutes)).iter(f"{NS}text") if t.get("y") == "374"]
    for left, right in pairwise(labels):
        assert float(left.get("x")) + 6.8 * len(left.text) < float(right.get("x"))
    assert min(count, 1) <= len(labels) <= 6


def test_bars_are_as_tall_as_their_counts():
    root = drawn(series_of([(100, 0.5, 10.0), (50, 0.0, 10.0), (0, 0.0, None)]))
    bars = [
        (r.get("class"), float(r.get("height"))) for r in root.iter(f"{NS}rect") if r.get("height") not in {"10", "400"}
    ]
    assert bars == [("calls", 140.0), ("errors", 70.0), ("calls", 70.0)]


def test_a_gap_in_the_latencies_is_no_line():
    root = drawn(series_of([(1, 0, 5.0), (1, 0, 9.0), (0, 0, None), (1, 0, 7.0)]))
    assert [len(line.get("points").split()) for line in root.iter(f"{NS}polyline")] == [2]
    assert len([*root.iter(f"{NS}circle")]) == 1


def test_it_tells_those_who_do_not_see_it():
    root = drawn(series_of([(100, 0.5, 10.0), (400, 0.0, 1234.0)]))
    assert root.get("role") == "img"
    named = {part.get("id"): part.text for part in root if part.get("id")}
    assert set(root.get("aria-labelledby").split()) == set(named)
    assert named["title"] == "Calls"
    for told in ("500 calls", "50 of them failed", "1 hour", "400 calls", "2026-11-20 01:00", "1,234 ms"):
        assert told in named["desc"]


def test_it_needs_nothing_else():
    text = svg(series_of([(1, 0, 1.0)]), "Calls")
    assert "prefers-color-scheme: dark" in text
    for word in ("<script", "href", "url(", "@import", "onload"):
        assert word not in text


def test_a_hostile_or_long_title_is_made_harmless_and_cut():
    title = '</title><script>alert("x")</script>\x1b[31m\x00' + "name " * 40
    root = drawn(series_of([]), title)
    shown = next(t.text for t in root.iter(f"{NS}text") if t.get("class") == "title")
    assert len(shown) == 60
    assert shown.endswith("…")
    assert "\x1b" not in "".join(root.itertext())
    assert [*root.iter(f"{NS}script")] == []


def test_about_is_said_where_it_is_about():
    texts = [t.text for t in drawn(series_of([], is_approximate=True)).iter(f"{NS}text")]
    assert "95 % of the calls took at most (ms, about)" in texts


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([0, 0], "▁▁"), ([0, 1, 1000], "▁▂█"), ([7], "█"), ([1, 2, 3, 4, 5, 6, 7], "▂▃▄▅▆▇█")],
)
def test_a_sparkline_is_low_for_nothing_only(values, line):
    assert sparkline(values) == line
    assert sparkline(values, PLAIN_BARS) == line.translate(dict(zip(map(ord, BARS), PLAIN_BARS, strict=True)))


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_what_is_drawn_stands_out_by_wcag(mode):
    light, dark, _ = _STYLE.split("@media")
    rules = dict(re.findall(r"([.\w]+) {[^}]*?(#[0-9a-f]{6})", light if mode == "light" else dark))
    back = rules.pop(".back")
    assert contrast(rules.pop("text"), back) >= 7
    rules.pop(".grid")  # which only helps the eye along
    assert set(rules) == {".axis", ".calls", ".errors", ".p95", ".dot"}
    assert all(contrast(color, back) >= 3 for color in rules.values())
