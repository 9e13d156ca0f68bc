"""``lmroute emulator`` as a process: its URL line, its options, its end."""

import argparse
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from lmroute.cli.emulator import _Progress, _settings, add_arguments
from lmroute.emulator.faults import Faults
from lmroute.emulator.machine.state import State
from lmroute.emulator.settings import Settings
from lmroute.errors import LmrouteError
from lmroute.providers.embedded import Fetch

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
COMMAND = [sys.executable, "-m", "lmroute.cli", "emulator"]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to a process")


@contextmanager
def emulator(*options, **variables):
    """The process, and a client of the URL it printed."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "", **variables},  # the URL line has to be flushed
    )
    try:
        url = process.stdout.readline()
        assert url.startswith("http://127.0.0.1:"), process.stderr.read()
        with httpx.Client(base_url=url.strip(), trust_env=False, timeout=20) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def refused(*options, **variables):
    command = [*COMMAND, "--port", "0", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env={**os.environ, **variables}, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def ask(client, text="hello", **fields):
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return client.post("/v1/chat/completions", json=body)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_url_answers_and_stops_with_0(number):
    with emulator() as (process, client):
        assert client.get("/lmstudio-greeting").json() == {"lmstudio": True}
        content = ask(client, "my secret prompt").json()["choices"][0]["message"]["content"]
        process.send_signal(number)
        out, err = process.communicate(timeout=20)

    assert content == "You said: my secret prompt"
    assert (process.returncode, out) == (0, "")
    assert err == "LM Studio 0.4.25 emulator, scripted model; Ctrl-C stops it\n"


@posix_only
def test_it_stops_right_after_the_url_was_printed():
    for _ in range(3):
        with emulator() as (process, _):
            process.terminate()
            _, err = process.communicate(timeout=20)
        assert (process.returncode, "Traceback" in err) == (0, False)


@posix_only
def test_verbose_logs_requests_but_never_prompts():
    with emulator("--verbose") as (process, client):
        ask(client, "my secret prompt")
        process.terminate()
        _, err = process.communicate(timeout=20)

    assert "POST /v1/chat/completions" in err
    assert "secret" not in err


def test_a_port_in_use_is_told_with_a_way_out():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code, err = refused("--port", str(port))

    assert code == 2
    assert err.splitlines()[-1] == (
        f"port {port} on 127.0.0.1 is in use, perhaps by LM Studio; stop that program or take --port 0"
    )


def test_a_wrong_script_is_told_with_file_and_line(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("- match: a\n  reply: b\n- match: c\n  answer: d\n", encoding="utf-8")

    code, err = refused("--script", str(script))

    assert (code, err) == (
        2,
        (
            f"{script}:4: field 'answer' is unknown or there twice; "
            "a line has match or regex, and reply, reasoning or tools\n"
        ),
    )


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (["--host", "0.0.0.0", "--port", "0"], {}, "the emulator serves this machine only, not '0.0.0.0'"),
        (["--port", "70000"], {}, "port 70000 on 127.0.0.1 cannot be had"),
        (["--split", "0"], {}, "split must be at least 1 byte"),
        (["--models", "a", "b", "A"], {}, "model 'a' is listed twice"),
        (["--profile", "0.3.31", "--require-auth"], {"LM_API_TOKEN": TOKEN}, "LM Studio 0.3.31 had no API tokens"),
        (["--token-env", "MY_TOKEN"], {"MY_TOKEN": TOKEN}, "only with --require-auth"),
        (["--require-auth", "--token-env", "MY_TOKEN"], {}, "environment variable MY_TOKEN is not set"),
        (["--require-auth"], {"LM_API_TOKEN": "hunter22"}, "environment variable LM_API_TOKEN: no LM Studio API token"),
        (["--model", "huge"], {}, "invalid choice: 'huge'"),
        (["--profile", "0.2"], {}, "invalid choice: '0.2'"),
        (["--script", "nowhere.yaml"], {}, "nowhere.yaml: the script cannot be read"),
        (["--script", os.devnull, "--model", "embedded"], {}, "a script is a list"),
        (["--load", "nobody"], {}, "--load nobody: no such model is on the emulated disk; there are rookery/"),
        (["--load", "a", "--load-nothing"], {}, "--load and --load-nothing exclude each other"),
        (["--fault", "hnag"], {}, "no fault is called 'hnag'; there are path,"),
        (["--fault", "drip=fast"], {}, "fault 'drip' must be a whole number"),
        (["--ttl", "0"], {}, "ttl_s must be at least 1 and at most 1000000000 seconds, not 0"),
        (["--parallel", "0"], {}, "parallel must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_in_a_line(options, variables, message):
    code, err = refused(*options, **variables)

    assert code == 2
    assert message in err
    assert "hunter22" not in err


def test_options_reach_the_server(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("- match: ping\n  reply: pong\n", encoding="utf-8")
    options = ["--script", str(script), "--models", "a", "b", "--no-jit", "--profile", "0.3.31", "--split", "4"]

    with emulator(*options) as (_, client):
        models = [model["id"] for model in client.get("/v1/models").json()["data"]]
        answer = ask(client, "ping", model="b").json()
        native = client.get("/api/v1/models").json()
        with client.stream("POST", "/v1/chat/completions", json={"messages": [], "stream": True}) as response:
            longest = max(map(len, response.iter_raw()))

    assert models == ["a"]
    assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("a", "pong")
    assert native["error"].startswith("Unexpected endpoint")
    assert longest == 4


def test_what_is_loaded_and_what_goes_wrong_can_be_said():
    options = ["--models", "a", "b@c", "--load", "B@C", "--load", "a@mine", "--load", "a@q4_k_m", "--manual-clock"]
    options += ["--context-length", "99", "--parallel", "2", "--load-seconds", "3.5", "--ttl", "7"]

    settings = settings_of(*options, "--fault", "drip=100", "--fault", "html_500", "--fault", "path=/v1/models")

    assert [(loaded.key, loaded.id) for loaded in settings.in_memory] == [("b@c", "b@c"), ("a", "mine"), ("a", "a")]
    assert (settings.load_config.context_length, settings.load_config.parallel) == (99, 2)
    assert (settings.load_seconds, settings.ttl_s, settings.clock) == (3.5, 7, "manual")
    assert settings.faults == Faults(drip=100, html_500=True, path="/v1/models")
    assert settings_of("--load-nothing").in_memory == ()
    assert settings_of() == Settings()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--load-seconds", "nan"], "load_seconds must be at least 0 and at most 1000000000 seconds, not nan"),
        (["--load-seconds", "inf"], "load_seconds must be at least 0 and at most 1000000000 seconds, not inf"),
        (["--ttl", "1" + 400 * "0"], "ttl_s must be at least 1 and at most 1000000000 seconds"),
        (["--models", ""], "a model has no name"),
        (["--models", "a", " "], "a model has no name"),
        (["--models", "a", "--load", "a@"], "--load a@: nothing follows the @; write MODEL@ID, or MODEL alone"),
        (["--models", "a", "--context-length", "32769"], "32769 is more than a can take; give at most 32768"),
        (["--load", "rookery/tern-3b-instruct", "--context-length", "40000"], "rookery/tern-3b-instruct can take"),
        (["--fault", "keep_alive_s=1e999"], "fault 'keep_alive_s' must be more than 0 seconds and at most"),
        (["--fault", "keep_alive_s=NaN"], "fault 'keep_alive_s' must be more than 0 seconds and at most"),
    ],
)  # fmt: skip
def test_nonsense_is_told_in_a_line(options, message):
    with pytest.raises(LmrouteError) as told:
        settings_of(*options)

    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_an_embedding_model_gets_what_it_can_of_a_window_for_all():
    options = ["--load", "rookery/heron-8b-instruct", "--load", "text-embedding-wren-v1", "--context-length", "131072"]

    windows = [instance.context_length for instance in State(settings_of(*options)).instances]

    assert windows == [131072, 2048]


def test_a_token_cannot_be_full_and_read_only(monkeypatch):
    monkeypatch.setenv("MINE", TOKEN)
    monkeypatch.setenv("THEIRS", TOKEN)

    with pytest.raises(LmrouteError, match="two of the API tokens are the same") as told:
        settings_of("--require-auth", "--token-env", "MINE", "--read-only-token-env", "THEIRS")
    assert "sk-lm-" not in str(told.value)


def settings_of(*options):
    """The settings that a command line means."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return _settings(parser.parse_args(options))


def test_tokens_come_from_the_environment_and_are_shown_nowhere():
    limited = TOKEN.replace("AbCd", "Read")
    options = ["--require-auth", "--token-env", "MINE", "--read-only-token-env", "THEIRS", "--verbose"]

    with emulator(*options, MINE=TOKEN, THEIRS=limited) as (process, client):
        nobody = client.get("/v1/models").status_code
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        full = ask(client).status_code
        client.headers["Authorization"] = f"Bearer {limited}"
        partly = [client.get("/v1/models").status_code, ask(client).status_code]
        process.kill()
        _, err = process.communicate(timeout=20)

    assert (nobody, full, partly) == (401, 200, [200, 403])
    assert "sk-lm-" not in err


def test_a_fetch_is_told_in_tenths(capsys):
    tell = _Progress()

    for done in [0, 1, 19, 20, 100, 200]:
        tell(Fetch(done, 200, 1.0))

    assert capsys.readouterr().err.splitlines() == [
        f"fetching the model: {percent} % of 0 MB" for percent in (0, 10, 50, 100)
    ]


@posix_only
@pytest.mark.slow
def test_the_embedded_model_answers_and_its_process_ends_too():
    with emulator("--model", "embedded") as (process, client):
        answer = ask(client, "Say hello.", max_tokens=5, temperature=0).json()
        process.terminate()
        _, err = process.communicate(timeout=30)

    assert answer["model"] == "smollm2-135m-instruct"
    assert answer["choices"][0]["message"]["content"]
    assert (process.returncode, "Traceback" in err) == (0, False)
