"""The program of examples/two_modules.py: each signature goes where by_signature says, however the program is run.

Everything is read from the call records. Each test runs over scripted children and, slowly, over the embedded model and
two emulators of LM Studio.
"""

import asyncio
import importlib.util
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import dspy
import pytest

import lmroute
from lmroute import validate
from lmroute.emulator.running import running

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_modules.py"
EMBEDDED, LMSTUDIO, OTHER = "embedded", "lmstudio", "openai_compatible"
BY_SIGNATURE = {"Classify": EMBEDDED, "DraftReply": LMSTUDIO}
TWO_SERVERS = """
name: two_servers
rules:
  - name: small_steps
    when: {{signature: {{eq: Classify}}}}
    use: [embedded]
    pin: {pin}
  - name: writing
    pin: {pin}
    use: [{{select: {{locality: [loopback]}}, order: weighted, weights: {{lmstudio: 1, openai_compatible: 1}}}}]
"""


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("two_modules", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(request):
    """An answer in ChatAdapter's form, to whichever of the two signatures was asked."""
    field, value = ("reply", "We will.") if "[[ ## reply ## ]]" in str(request.system) else ("desk", "billing")
    return f"[[ ## {field} ## ]]\n{value}\n\n[[ ## completed ## ]]"


@pytest.fixture(params=["scripted", pytest.param("real", marks=pytest.mark.slow)])
def run(request, make, scripted_lm):
    """Everything that runs inside: ``with run(routing) as records``. The last part lists the records of the calls."""
    with ExitStack() as stack:

        def start(routing):
            words = [f"provider=[{LMSTUDIO},{OTHER},{EMBEDDED}]", f"routing={routing}"]
            if request.param == "real":
                urls = [stack.enter_context(running()).url for _ in range(2)]
                sink = make.sink()
                lm = lmroute.load([*words, *at(*urls)], sink=sink, cache=False, temperature=0.0, max_tokens=32)
                adapter = lmroute.adapter(lm)
            else:
                lm = scripted_lm(
                    written, stack_=validate.load([*words, *at("http://127.0.0.1:9", "http://127.0.0.1:8")])
                )
                sink, adapter = lm.sink, dspy.ChatAdapter()
            stack.callback(lm.engine.close)
            stack.enter_context(dspy.context(lm=lm, adapter=adapter))

            def records():
                lm.engine.routing.sink.flush()  # a sink of one's own is written to by a thread
                return [line for line in sink.lines if line["kind"] == "call"]

            return records

        yield start


def at(first, second):
    return [
        f"providers.{LMSTUDIO}.endpoint={first}",
        f"providers.{OTHER}.endpoint={second}",
        f"providers.{OTHER}.locality=loopback",
        f"providers.{OTHER}.capabilities.json_mode=json_schema",
    ]


def served(records):
    """How many calls of each signature each provider answered."""
    assert {record["status"] for record in records} == {"ok"}
    return Counter((record["attributes"]["signature"], record["provider"]) for record in records)


def each(count):
    """What is served when each signature is asked so many times."""
    return Counter(dict.fromkeys(BY_SIGNATURE.items(), count))


def messages(count):
    return [f"Message {number}: the app charged me twice." for number in range(count)]


def test_one_after_the_other(run, program):
    records = run("by_signature")
    support = program.Support()
    for message in messages(2):
        answer = support(message=message)
        assert answer.desk in {"billing", "technical"}
        assert answer.reply
    assert served(records()) == each(2)
    rules = {record["attributes"]["signature"]: record["rule"] for record in records()}
    assert rules == {"Classify": "small_steps", "DraftReply": "writing"}


def test_on_one_event_loop(run, program):
    records = run("by_signature")
    support = program.Support()

    async def main():
        return await asyncio.gather(*(support.acall(message=message) for message in messages(4)))

    assert len(asyncio.run(main())) == 4
    assert served(records()) == each(4)


def test_in_sixteen_threads(run, program):
    records = run("by_signature")
    support = program.Support()
    pairs = [(support, dspy.Example(message=message).with_inputs("message")) for message in messages(16)]
    answers = dspy.Parallel(num_threads=16, disable_progress_bar=True)(pairs)
    assert all(answer.reply for answer in answers)
    assert served(records()) == each(16)


def test_private_work_goes_elsewhere_by_the_same_policy(run, program):
    records = run("by_signature")
    with lmroute.task(privacy="private"):
        program.Support()(message="mine")
    assert {record["rule"] for record in records()} == {"private"}


REAL_TWO = pytest.param("real", 2, marks=pytest.mark.slow)
"""Each demonstration makes the prompts longer, which takes a small CPU seconds."""


def optimised(program, demos=4):
    """BootstrapFewShot over so many messages, and what it made judged on two others, in threads."""
    examples = [dspy.Example(message=m, desk="billing").with_inputs("message") for m in messages(demos + 2)]
    optimiser = dspy.BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=demos, max_labeled_demos=0)
    better = optimiser.compile(program.Support(), trainset=examples[:demos])
    dspy.Evaluate(devset=examples[demos:], metric=lambda *_: 1.0, num_threads=2)(better)
    return better


@pytest.mark.parametrize(("run", "demos"), [("scripted", 4), REAL_TWO], indirect=["run"])
def test_under_an_optimiser_with_pin_one_candidate_for_each_rule(run, program, overlay, demos):
    overlay(routing__two_servers=TWO_SERVERS.format(pin="true"))
    records = run("two_servers")
    better = optimised(program, demos)
    assert len(better.classify.demos) == len(better.draft.demos) == demos
    counted = served(records())
    assert counted["Classify", EMBEDDED] == demos + 2
    assert sorted((counted["DraftReply", LMSTUDIO], counted["DraftReply", OTHER])) == [0, demos + 2]


@pytest.mark.parametrize("run", ["scripted"], indirect=True)
def test_a_pin_around_the_run_does_the_same(run, program, overlay):
    overlay(routing__two_servers=TWO_SERVERS.format(pin="false"))
    records = run("two_servers")
    with lmroute.pin():
        optimised(program)
    assert sorted(served(records()).values()) == [6, 6]


@pytest.mark.parametrize("run", ["scripted"], indirect=True)
def test_without_a_pin_both_servers_would_have_been_asked(run, program, overlay):
    overlay(routing__two_servers=TWO_SERVERS.format(pin="false"))
    records = run("two_servers")
    optimised(program)
    counted = served(records())
    assert counted["Classify", EMBEDDED] == 6
    assert counted["DraftReply", LMSTUDIO] >= 1
    assert counted["DraftReply", OTHER] >= 1
