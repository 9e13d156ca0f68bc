"""``lmroute policy replay``: recorded calls under another policy."""

import json
from datetime import UTC, datetime

import pytest

from lmroute.cli import main
from lmroute.model import Attempt, Attributes, Candidate, Considered, Decision, Facts, Failure, Privacy
from lmroute.telemetry.events import CallEvent, Usage, records

HERE, CLOUD = Candidate("lmstudio", "auto"), Candidate("openai", "gpt-4.1-mini")
STACK = "provider=[lmstudio,openai]"
HOME = "name: home\nrules:\n  - {name: local, use: [lmstudio, openai]}\n"
AWAY = """\
name: away
rules:
  - {name: private, priority: 10, when: {privacy: {eq: private}}, use: [lmstudio]}
  - {name: cloud, use: [openai, lmstudio]}
"""


def event(call_id, *attempts, considered=(HERE, CLOUD), **known):
    made = {
        "call_id": call_id, "stack": "home@1", "attributes": Attributes(task="qa", privacy=Privacy.PUBLIC),
        "decision": Decision("local", tuple(map(Considered, considered))), "attempts": attempts,
        "usage": Usage(1_000_000, 0), "duration_ms": 99.0, "overhead_us": 9.0,
    }  # fmt: skip
    return CallEvent(**made | known)


def answered(call_id, candidate=HERE, ms=40.0, **known):
    return event(call_id, Attempt(candidate, ms, answered=candidate.model), **known)


@pytest.fixture
def recorded(tmp_path, overlay):
    """Write a file of records and stand beside it, with the policies ``home`` and ``away``."""
    overlay(routing__home=HOME, routing__away=AWAY)

    def write(*events, tail="", file="outputs/1/calls.jsonl"):
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        lines = [json.dumps(record) for one in events for record in records(one)]
        path.write_text("".join(f"{line}\n" for line in lines) + tail, encoding="utf-8")

    return write


@pytest.fixture
def replay(capsys):
    def run(*words, policy="away", stack=STACK):
        code = main(["policy", "replay", *words, "--policy", policy, stack])
        return code, capsys.readouterr()

    return run


@pytest.fixture
def data(replay):
    def run(*words, **known):
        code, output = replay(*words, "--format", "json", **known)
        assert (code, output.err) == (0, "")
        return json.loads(output.out)

    return run


def test_the_text(recorded, replay):
    failed = Attempt(HERE, 2.0, failure=Failure.TRANSPORT, message="refused")
    fell_back = event("c", failed, Attempt(CLOUD, 200.0, answered="gpt-4.1-mini-2026"))
    recorded(answered("a"), answered("b", attributes=Attributes(privacy=Privacy.PRIVATE)), fell_back, tail='{"v": 1')

    code, output = replay("outputs")

    assert (code, output.err) == (0, "")
    assert output.out == (
        "3 calls under policy 'away': 1 moved, 0 without an answer\n"
        "\n"
        "who answers, before and after:\n"
        "  1  lmstudio/auto        -> openai/gpt-4.1-mini\n"
        "  1  lmstudio/auto        stays\n"
        "  1  openai/gpt-4.1-mini  stays\n"
        "\n"
        "which rule decides, before and after:\n"
        "  2  local  -> cloud\n"
        "  1  local  -> private\n"
        "\n"
        "estimated cost     $0.400000 -> $0.800000  over 3 calls\n"
        "estimated latency  93 ms -> 147 ms a call  over 3 calls\n"
        "\n"
        "moved calls:\n"
        "  a  lmstudio/auto -> openai/gpt-4.1-mini  rule local -> cloud\n"
        "\n"
        "left out: 1 line that is no record\n"
    )


def test_the_json(recorded, data):
    recorded(answered("a"), answered("b"), tail='{"v": 9, "call": "x"}\n{"v": 1, "call": "y", "kind": "call"}\n')
    told = data("outputs")
    assert (told["calls"], [moved["call"] for moved in told["moved"]]) == (2, ["a", "b"])
    assert told["by_candidate"] == [{"before": str(HERE), "after": str(CLOUD), "calls": 2}]
    assert told["by_rule"] == [{"before": "local", "after": "cloud", "calls": 2}]
    assert told["left_out"] == {"torn": 0, "misshapen": 1, "other_versions": {"9": 1}}
    assert told["usd"] == {"before": 0.0, "after": pytest.approx(0.8), "calls": 2, "unknown": {}}
    assert told["latency_ms"]["unknown"] == {"no recorded call was answered by openai/gpt-4.1-mini": 2}
    assert told["overrides"] == [STACK]


def test_the_same_policy_moves_nothing(recorded, replay):
    recorded(answered("a"), answered("b"))
    code, output = replay("outputs", "--fail-on-moves", policy="home")
    assert code == 0
    assert output.out.startswith("2 calls under policy 'home': 0 moved, 0 without an answer\n")


def test_moves_can_fail(recorded, replay):
    recorded(answered("a"))
    assert replay("outputs", "--fail-on-moves")[0] == 1


def test_what_was_known_counts_unless_it_is_ignored(recorded, data):
    recorded(answered("a", facts=Facts(out={CLOUD: "breaker open"})))
    assert data("outputs")["moved"] == []
    assert [moved["after"] for moved in data("outputs", "--ignore-facts")["moved"]] == [str(CLOUD)]


def test_calls_without_an_answer_are_told_with_the_reason(recorded, replay):
    recorded(answered("a", CLOUD))
    _, output = replay("outputs", stack="provider=embedded")
    assert "1 moved, 1 without an answer" in output.out
    assert "a  openai/gpt-4.1-mini -> nobody" in output.out
    assert "rule 'cloud' has no candidates" in output.out
    assert output.err.startswith("note: a run would refuse this policy (LMR301 at ")


def test_a_policy_in_a_file(recorded, data, tmp_path):
    policy = "name: mine\nrules:\n  - {name: all, use: [openai]}\n"
    (tmp_path / "mine.yaml").write_text(policy, encoding="utf-8")
    recorded(answered("a"))
    told = data("outputs/1/calls.jsonl", policy="mine.yaml")
    assert (told["policy"], told["moved"][0]["rule_after"]) == ("mine", "all")


def test_a_file_that_is_named_twice_is_read_once(recorded, data):
    recorded(answered("a"))
    assert data("outputs", "outputs/1/calls.jsonl")["calls"] == 1


DAY = "state/events/2026-03-04"  # LMROUTE_STATE_HOME


def test_without_a_path_all_programs_calls_are_meant(recorded, data):
    recorded(answered("a"), file=f"{DAY}/host-1-1.jsonl")
    recorded(answered("b"), file="state/events/2026-03-05/host-2-1.jsonl")
    recorded(answered("b"), answered("c"))
    assert data()["calls"] == data("seed=3")["calls"] == 2
    assert data(DAY)["calls"] == 1
    assert data("state/events", "outputs")["calls"] == 3


def test_only_the_calls_since_then(recorded, data, replay, capsys):
    recorded(*(answered(f"c{day}", at=datetime(2026, 3, day, 12, tzinfo=UTC).timestamp()) for day in (4, 5, 6)))
    assert data("outputs", "--since", "2026-03-05")["calls"] == 2
    assert data("outputs", "--since", "2026-03-05T12:00:00.001")["calls"] == 1
    with pytest.raises(SystemExit):
        replay("outputs", "--since", "3 fortnights")
    assert "is no time; what is: 24h" in capsys.readouterr().err


def test_only_the_first_moves_are_listed(recorded, replay):
    recorded(*(answered(f"call{number}") for number in range(12)))
    _, output = replay("outputs")
    assert "moved calls, the first 10 of 12:" in output.out
    assert output.out.count("rule local -> cloud") == 10


def test_no_calls_are_no_error(recorded, replay):
    recorded()
    assert replay("outputs")[1].out == "0 calls under policy 'away': 0 moved, 0 without an answer\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: there is no such file or folder of call records"),
        (["seed=3"], "no calls recorded yet; programs record their calls with telemetry=local"),
        (["empty"], "empty: there is neither a calls.jsonl nor another .jsonl file in this folder or below it"),
    ],
)
def test_no_records_is_wrong_usage(recorded, replay, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    code, output = replay(*words)
    assert (code, output.out) == (2, "")
    assert said in output.err


def test_no_policy_is_wrong_usage(recorded, replay):
    recorded(answered("a"))
    assert "did you mean 'away'?" in replay("outputs", policy="awya")[1].err
