"""Scripts: what they may say, how they go wrong, and who is answered by which line."""

import json

import pytest

from lmroute.emulator.backends.script import ScriptError, read_script
from lmroute.emulator.catalog import Model, ReasoningOptions
from lmroute.emulator.settings import Engine, Settings
from lmroute.errors import LmrouteError

SCRIPT = """\
- match: "2+2?"
  reply: "4"
- regex: capital of (france|Italy)
  reply: yes
- {match: Verdict, reply: {label: positive, scores: [1, 2.5, ünï]}}
- match: verdict
  reply: never reached
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "script.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def answer(client, *contents, **fields):
    messages = [{"role": "user", "content": content} for content in contents]
    return client.ask(messages=messages, **fields).json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("What is 2+2?", "4"),
        ("capital of france", "yes"),
        ("capital of France", "You said: capital of France"),
        ("and the\nVERDICT is?", '{"label": "positive", "scores": [1, 2.5, "ünï"]}'),
        ("something else", "You said: something else"),
    ],
)
def test_the_first_line_that_matches_answers(write, shared, question, reply):
    client = shared(Settings(script=read_script(write(SCRIPT))))

    assert answer(client, question) == reply


def test_only_the_last_user_message_counts(write, shared):
    client = shared(Settings(script=read_script(write(SCRIPT))))

    assert answer(client, "2+2?", "thanks") == "You said: thanks"
    assert answer(client, "thanks", [{"type": "text", "text": "2+2?"}]) == "4"


def test_a_line_goes_before_a_schema(write, shared):
    client = shared(Settings(script=read_script(write(SCRIPT))))
    wanted = {"type": "json_schema", "json_schema": {"schema": {"const": "x"}}}

    assert json.loads(answer(client, "verdict", response_format=wanted))["label"] == "positive"
    assert answer(client, "else", response_format=wanted) == '"x"'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "a script is a list of"),
        ("match: a\nreply: b\n", 1, "a script is a list of"),
        ("- just text\n", 1, "each line of a script is a mapping"),
        ("- {match: a, reply: b}\n- {match: c}\n", 2, "a line needs a reply"),
        ("- reply: b\n", 1, "either match (a text) or regex (a pattern)"),
        ("- match: a\n  regex: b\n  reply: c\n", 1, "either match (a text) or regex (a pattern)"),
        ("- match: a\n  reply: b\n  replies: c\n", 3, "field 'replies' is unknown or there twice"),
        ("- match: a\n  match: b\n  reply: c\n", 2, "field 'match' is unknown or there twice"),
        ("- [match]: a\n", 1, "is unknown or there twice"),
        ("- match: ''\n  reply: b\n", 1, "match must be a text that is not empty"),
        ("- match: [a]\n  reply: b\n", 1, "match must be a text that is not empty"),
        ("- reply: b\n  regex: '('\n", 2, "regex is no regular expression"),
        ("- match: a\n  reply: {when: 2026-01-01}\n", 2, "reply must be a text or JSON data"),
        ("- match: a\n  reply: {x: !!python/name:os.system }\n", 2, "reply must be a text or JSON data"),
        ("- match: a\n  reply: b\n  reasoning: [c]\n", 3, "reasoning must be a text that is not empty"),
        ("- match: a\n  tools: ping\n", 2, "tools must be a list"),
        ("- match: a\n  tools: []\n", 2, "tools must be a list"),
        ("- match: a\n  tools: [ping]\n", 2, "each of tools is a mapping"),
        ("- match: a\n  tools:\n  - {arguments: {}}\n", 3, "each of tools is a mapping"),
        ("- match: a\n  tools:\n  - {name: a, args: {}}\n", 3, "each of tools is a mapping"),
        ("- match: a\n  tools:\n  - name: a\n    arguments: '{}'\n", 4, "arguments must be a mapping"),
        ("- match: a\n  tools:\n  - {name: a, arguments: {at: 2026-01-01}}\n", 3, "arguments must be JSON data"),
        ("- match: a\n  tools:\n  - {name: [a]}\n", 3, "name must be a text"),
        ("- match: a\n reply: b\n", 2, "the script is no YAML"),
        ("- &a [*b]\n", 1, "the script is no YAML"),
    ],
)
def test_a_wrong_script_is_told_with_its_place(write, text, line, message):
    path = write(text)

    with pytest.raises(ScriptError) as wrong:
        read_script(path)

    assert str(wrong.value).startswith(f"{path}:{line}: ")
    assert message in str(wrong.value)


def test_a_line_may_reason_and_call_tools_and_lack_a_reply(write, shared):
    script = read_script(
        write("- {match: oslo, reasoning: Let me look., tools: [{name: look, arguments: {at: Oslo}}, {name: ping}]}")
    )
    client = shared(Settings(models=(Model("owl", reasoning=ReasoningOptions()),), script=script))
    tools = [{"type": "function", "function": {"name": "look"}}]

    message = client.ask(messages=[{"role": "user", "content": "Oslo!"}], tools=tools).json()["choices"][0]["message"]

    assert message["reasoning_content"] == "Let me look."
    assert [tuple(call["function"].values()) for call in message["tool_calls"]] == [
        ("look", '{"at": "Oslo"}'),
        ("ping", "{}"),
    ]
    assert answer(client, "Oslo!") == "You said: Oslo!"


def test_a_file_that_is_not_there_or_no_text_is_told(write, tmp_path):
    with pytest.raises(ScriptError, match="No such file"):
        read_script(tmp_path / "gone.yaml")
    with pytest.raises(ScriptError, match="not UTF-8"):
        read_script(write(b"\xff\xfe\xfa"))
    with pytest.raises(ScriptError, match="no YAML"):
        read_script(write("- \x00\n"))


def test_a_script_is_for_the_scripted_model(write):
    with pytest.raises(LmrouteError, match="needs the scripted model"):
        Settings(engine=Engine.EMBEDDED, script=read_script(write(SCRIPT)))


def test_without_a_script_the_echo_is_short(client):
    assert answer(client, "word " * 100) == "You said:" + " word" * 12
    assert client.ask(messages=[]).json()["choices"][0]["message"]["content"] == "You said: "
    assert client.ask(messages=[{"role": "system", "content": "be kind"}]).json()["usage"]["prompt_tokens"] == 2


def test_the_same_prompt_gets_the_same_answer_whatever_the_sampling(client):
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}

    answers = {answer(client, "same", response_format=wanted, temperature=t, seed=t) for t in (0, 1, 2)}

    assert len(answers) == 1
    assert answer(client, "other", response_format=wanted) not in answers
