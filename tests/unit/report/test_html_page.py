"""One page: whole, inert, loading nothing, marking what is simulated."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strixfleet.findings.results import Report
from strixfleet.findings.runs import Measurement
from strixfleet.report import html_page
from strixfleet.report.charts import HEIGHT, WIDTH, chart, nice_step


ROW = Measurement(
    1, "2026-11-21T10:00:00+00:00", "h1", "b1", "main", "m", "tg128", "ok", 12.0, 13.0, 11.0, 17.0, True
)
VOID = {"meta", "br", "rect", "line", "circle", "path", "polyline"}


class Elements(HTMLParser):
    """Collect tags and attributes, and hold opening against closing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    elements.close()
    assert elements.open == []
    return elements


@pytest.fixture
def page(report: Report) -> str:
    speeds = ((12.0 + index % 2, "slow" if index == 4 else "ok") for index in range(9))
    past = [
        replace(ROW, build=f"b{index // 3}", measured_tps=tps, grade=grade)
        for index, (tps, grade) in enumerate(speeds)
    ]
    return html_page.render(html_page.page_of([report.to_json()], past))


def test_the_page_loads_and_runs_nothing(page: str) -> None:
    elements = parsed(page)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(elements.tags)
    addresses = [value for name, value in elements.attributes if name in {"href", "src", "action", "style"}]
    assert all(value.startswith(("#", "fill:")) for value in addresses)
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_hostile_values_are_text(page: str) -> None:
    elements = parsed(page)
    assert "<script>alert(1)</script>" in elements.text
    assert "{{ 7 * 7 }}" in elements.text


def test_what_is_simulated_is_marked_at_every_speed(page: str, report: Report) -> None:
    text = parsed(page).text
    assert "Simulated hardware." in text
    assert "simulated: Framework Desktop" in text
    assert text.count("simulated box") == len(report.hosts[0].verdicts) + 1  # and the chart


def test_all_parts_are_there(page: str) -> None:
    text = parsed(page).text
    for word in ("h2: unreachable", "kernel:ttm.pages_limit", "running: absent → 31457280", "wrong device"):
        assert word in text
    assert "kernel : write the drop-in" in text
    assert "all managed items are as desired" not in text
    assert page.count("<circle") == 8
    assert page.count("<path") == 1


def test_a_real_box_is_not_called_simulated(report: Report) -> None:
    hosts = tuple(replace(host, simulated=None) for host in report.hosts)
    text = parsed(html_page.render(html_page.page_of([replace(report, hosts=hosts).to_json()]))).text.lower()
    assert "simulated" not in text


def test_an_empty_page_is_a_page() -> None:
    parsed(html_page.render(html_page.page_of([])))


def test_each_part_comes_from_the_newest_run_that_has_it(report: Report) -> None:
    bench = replace(report, verb="bench", hosts=(replace(report.hosts[0], items=()),))
    audit = replace(report, hosts=(replace(report.hosts[0], verdicts=(), extra={}),))
    (host,) = html_page.page_of([audit.to_json(), bench.to_json()]).hosts
    assert len(host.items) == 5
    assert len(host.verdicts) == 3
    assert host.build == "v0.3.36-cpu-12345678"


SPEEDS = st.floats(0.01, 1e5)


@given(st.lists(st.tuples(SPEEDS, st.none() | SPEEDS), min_size=1, max_size=80))
def test_charts_stay_inside_whatever_the_speeds(speeds: list[tuple[float, float | None]]) -> None:
    rows = [
        replace(
            ROW,
            measured_tps=tps,
            expected_tps=expected,
            floor_tps=expected * 0.8 if expected else None,
            ceiling_tps=expected * 1.3 if expected else None,
        )
        for tps, expected in speeds
    ]
    drawn = chart("t", rows)
    assert len(drawn.points) == min(60, len(rows))
    for point in drawn.points:
        assert 0 <= point.x <= WIDTH
        assert 0 <= point.y <= HEIGHT
    for band in drawn.bands:
        assert band.height >= 0
        assert 0 <= band.top <= HEIGHT
    assert 2 <= len(drawn.ticks) <= 8
    assert len({tick.y for tick in drawn.ticks}) == len(drawn.ticks)


def test_faster_is_higher() -> None:
    drawn = chart("t", [replace(ROW, measured_tps=10.0), replace(ROW, measured_tps=20.0)])
    assert drawn.points[0].y > drawn.points[1].y


@pytest.mark.parametrize(
    ("highest", "step"), [(17.0, 5.0), (100.0, 25.0), (1.0, 0.25), (8.0, 2.0), (3.3, 1.0)]
)
def test_lines_lie_at_round_numbers(highest: float, step: float) -> None:
    assert nice_step(highest) == pytest.approx(step)
