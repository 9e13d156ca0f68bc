"""How the latest calls are found among many: by the index's own order, and never by looking at all."""

import pytest

from lmroute.telemetry.index import Index
from lmroute.telemetry.usage import latest


@pytest.fixture
def asked(monkeypatch):
    """The plans of the questions that ``ask(index)`` leads to."""

    def plans(ask):
        with Index() as index:
            seen, rows = [], index.rows

            def planned(sql, values=()):
                if sql.lstrip().startswith("SELECT c") or "attempts a" in sql:
                    seen.append([row[3] for row in rows(f"EXPLAIN QUERY PLAN {sql}", values)])
                return rows(sql, values)

            monkeypatch.setattr(index, "rows", planned)
            ask(index)
            return seen

    return plans


@pytest.mark.parametrize(
    ("ask", "first"),
    [
        (lambda index: latest.latest(index, 20), "SCAN c USING INDEX calls_ts"),
        (lambda index: latest.latest(index, 20, where={"status": ["error"]}), "SCAN c USING INDEX calls_ts"),
        (lambda index: latest.latest(index, None, after=7), "SEARCH c USING INTEGER PRIMARY KEY (rowid>?)"),
        (lambda index: latest._lines(index, []), "SCAN w"),
    ],
)
def test_a_question_walks_along_an_index(asked, ask, first):
    plans = asked(ask)
    assert plans[0][0] == first
    for plan in plans:
        assert [step for step in plan[1:] if step.startswith("SCAN")] in ([], ["SCAN wanted"])
