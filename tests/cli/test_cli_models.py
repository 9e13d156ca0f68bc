"""``lmroute models``: lists, loads, unloads and downloads, over the real emulator."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest

from lmroute.cli import main
from lmroute.cli.models import progress
from lmroute.cli.models.rows import duration, rows, size
from lmroute.emulator.catalog import Model, ReasoningOptions
from lmroute.emulator.running import running
from lmroute.emulator.settings import Settings, Token
from lmroute.emulator.versions import PROFILES
from lmroute.model import Profile, Secret
from lmroute.providers.inventory import ListedModel
from lmroute.providers.lmstudio import downloads

SMALL, LARGE, EMBEDDING, NEW = "test/small-3b", "test/large-70b", "text-embedding-test", "test/new-1b"
DISK = (
    Model(SMALL, max_context_length=32768, trained_for_tool_use=True, reasoning=ReasoningOptions(("low", "high"))),
    Model(LARGE, vision=True),
    Model.named(EMBEDDING),
)
SETTINGS = Settings(models=DISK, loaded=(), downloadable=(Model(NEW, size_bytes=1000),), download_bytes_per_s=10_000)
TOKEN = "sk-lm-a1B2c3D4:abcdefghij0123456789"
NOBODY = "providers.lmstudio.endpoint=http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _turns(tmp_path, monkeypatch):
    monkeypatch.setenv("LMROUTE_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(downloads, "EVERY_S", 0.01)


@pytest.fixture(scope="module")
def _emulator():
    with running(SETTINGS) as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator):
    """An emulator with nothing loaded."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def models(emulator, capsys):
    """Run ``lmroute models`` against it; gives exit code, stdout and stderr."""

    def run(*words, url=None):
        code = main(["models", *words, f"providers.lmstudio.endpoint={url or emulator.url}"])
        return (code, *capsys.readouterr())

    return run


def instances(emulator):
    return [instance["id"] for instance in emulator.state()["instances"]]


def cells(out):
    """The rows of a table by model, each as a dict by column."""
    lines = out.split("\n\n")[0].splitlines()
    names = [name for name in lines[0].split("  ") if name]
    at = [lines[0].index(name.strip()) for name in names]
    ends = [*at[1:], None]
    rows = [
        {name.strip(): line[start:end].strip() for name, start, end in zip(names, at, ends, strict=True)}
        for line in lines[1:]
    ]
    return {row["model"]: row for row in rows}


def test_the_list_tells_what_is_loaded_and_what_each_can_do(models, emulator):
    emulator.load(SMALL, identifier="mine", context_length=8192, parallel=2)
    body = {"model": LARGE, "messages": [{"role": "user", "content": "hello"}]}
    assert httpx.post(f"{emulator.url}/v1/chat/completions", json=body, trust_env=False).status_code == 200

    code, out, err = models("lmstudio")

    rows = cells(out)
    small = {"loaded": "mine", "window": "8192", "at most": "32768", "parallel": "2", "asked as": "auto", "ttl": ""}
    assert (code, err, list(rows)) == (0, "", [SMALL, LARGE, EMBEDDING])
    assert small.items() <= rows[SMALL].items()
    assert [row["can"] for row in rows.values()] == ["tools, reasoning low/high", "vision", ""]
    assert [row["type"] for row in rows.values()] == ["chat", "chat", "embedding"]
    assert (rows[LARGE]["loaded"], rows[EMBEDDING]["loaded"], rows[EMBEDDING]["asked as"]) == ("yes", "no", "")
    assert rows[LARGE]["ttl"] in {"60 min 0 s", "59 min 59 s", "59 min 58 s", "59 min 57 s"}
    assert "LM Studio 0.4 or newer" in out


def test_a_model_with_copies_is_one_row(models, emulator):
    for window in (4096, 2048):
        emulator.load(LARGE, context_length=window)

    rows = cells(models("list", "lmstudio")[1])

    assert list(rows) == [LARGE, SMALL, EMBEDDING]  # what is loaded comes first
    assert (rows[LARGE]["loaded"], rows[LARGE]["window"]) == (f"yes, {LARGE}:2", "4096, 2048")


def test_the_json_of_the_list_is_documented_and_stable(models, emulator):
    emulator.load(SMALL, context_length=8192)
    code, out, err = models("lmstudio", "--json", f"providers.lmstudio.models=[auto,{LARGE}]")

    document = json.loads(out)
    (provider,) = document["providers"]
    found = {model["id"]: model for model in provider.pop("models")}
    assert (code, err, document["format_version"]) == (0, "", "1.0")
    assert provider == {
        "id": "lmstudio",
        "type": "lmstudio",
        "endpoint": emulator.url,
        "enabled": True,
        "state": "healthy",
        "errorCode": None,
        "message": "",
        "fix": "",
        "api": "lmstudio-v1",
        "loads_on_demand": True,
    }
    assert found[SMALL] == {
        "id": SMALL,
        "type": "chat",
        "asked_as": ["auto"],
        "offered": True,
        "loaded": True,
        "instances": [{"id": SMALL, "context_window": 8192, "parallel": 4, "ttl_s": None}],
        "context_window": 8192,
        "max_context_window": 32768,
        "tools": True,
        "vision": False,
        "reasoning": ["low", "high"],
        "quantization": "Q4_K_M",
        "format": "gguf",
        "size_bytes": 2_000_000_000,
    }
    assert (found[LARGE]["asked_as"], found[LARGE]["loaded"], found[LARGE]["instances"]) == ([LARGE], False, [])
    assert found[EMBEDDING]["type"] == "embedding"


def test_every_key_of_the_json_stands_in_the_help(models, capsys):
    (provider,) = json.loads(models("lmstudio", "--json")[1])["providers"]
    with pytest.raises(SystemExit):
        main(["models", "list", "--help"])
    told = capsys.readouterr().out
    assert [key for key in [*provider, *provider["models"][0]] if key not in told] == []


@pytest.mark.parametrize(
    ("release", "told", "advice"), [("0.4.25", "LM Studio 0.4", True), ("0.3.31", "0.3.6 to 0.3.x", False)]
)
def test_without_just_in_time_loading_it_says_what_is_not_offered(models, release, told, advice):
    with running(Settings(models=DISK, jit=False, version=PROFILES[release])) as old:
        _, out, _ = models("lmstudio", url=old.url)
    assert (cells(out)[SMALL]["loaded"], cells(out)[LARGE]["loaded"]) == ("yes", "no, not offered")
    assert told in out
    assert "just-in-time loading is off" in out
    assert ("lmroute models load MODEL --provider lmstudio" in out) is advice


def test_the_oldest_tells_names_only(models):
    with running(Settings(models=DISK, version=PROFILES["0.3.5"])) as old:
        _, out, _ = models("lmstudio", url=old.url)
    assert out.splitlines()[0].split() == ["provider", "model", "type", "asked", "as"]
    assert "tells names only" in out


def test_a_server_that_is_down_is_told_and_the_others_are_shown(models, emulator, capsys):
    code, out, err = models("lmstudio", "ollama", "providers.ollama.endpoint=http://127.0.0.1:9")

    assert (code, SMALL in out, "ollama" in out) == (1, True, False)
    assert err.startswith("ollama: down: http://127.0.0.1:9/v1: connection refused\n  help: ")
    assert "start it: ollama serve" in err

    code, out, err = models("lmstudio", "ollama", "--json", "providers.ollama.endpoint=http://127.0.0.1:9")
    sick = json.loads(out)["providers"][1]
    assert (code, sick["state"], sick["errorCode"], sick["api"]) == (1, "down", "connection_refused", None)


def test_a_configured_model_that_is_not_there_is_told_beside_the_list(models):
    code, out, err = models("lmstudio", "providers.lmstudio.models=[test/smal-3b]")
    assert (code, SMALL in out) == (1, True)
    assert f"did you mean '{SMALL}'?" in err


def test_a_provider_that_is_off_is_not_asked(models, emulator, overlay):
    overlay(
        provider__spare=f"# @package providers.spare\nid: spare\ntype: lmstudio\nendpoint: {emulator.url}\n"
        "locality: loopback\nenabled: false\nmodels: [auto]\n"
    )
    assert models("spare", "provider=[spare,lmstudio]")[:2] == (0, "")
    code, out, err = models("spare", "lmstudio", "--json")
    off = json.loads(out)["providers"][0]
    assert (code, off["enabled"], off["state"], off["models"]) == (0, False, "unknown", [])
    assert "spare: off, so it was not asked\n  help: ++providers.spare.enabled=true" in err

    code, _, err = models("load", SMALL, "--provider", "spare", "provider=[spare,lmstudio]")
    assert (code, "++providers.spare.enabled=true" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["laod"], "did you mean 'load'?"),
        (["lmstudoi"], "did you mean 'lmstudio'?"),
        (["zzz"], "there are lmstudio, embedded, "),
        (["ollama", "provider=[lmstudio,embedded]"], "provider=[lmstudio,embedded,ollama]"),
        (["load", "a", "b"], "2 are given: a, b"),
        (["load", "lmstudio", "a"], "a provider is named with --provider lmstudio"),
        (["load", ""], "the name is empty"),
        (["unload", ""], "the name is empty"),
        (["unload", " ", "--all"], "the name is empty"),
        (["download", ""], "the name is empty"),
        (["unload", "--all", "--provider", ""], "the name of the provider is empty"),
        (["download", "https://example.com/a/b"], "write https://huggingface.co/USER/REPOSITORY"),
        (["download", "file:///etc/hosts"], "write https://huggingface.co/USER/REPOSITORY"),
        (["download", "https://huggingface.co/a"], "write https://huggingface.co/USER/REPOSITORY"),
        (["load", "a", "+providers.lmstudio.enabled=false"], "leave out +providers.lmstudio.enabled=false"),
        (["load", "--provider", "lmstudio", "routing=local_first"], "none is given"),
        (["load", "a", "--provider", "ollama", "provider=[lmstudio,ollama]"], "ollama run MODEL"),
        (["download", "a", "--provider", "embedded"], "only lmstudio is told to download"),
        (["unload"], "--all for everything"),
    ],
)
def test_wrong_words_are_told_with_the_right_ones(words, advice, capsys):
    assert main(["models", *words]) == 2
    shown = capsys.readouterr()
    assert (shown.out, advice in shown.err) == ("", True), shown.err


def test_without_a_verb_help_tells_the_verbs(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert [verb for verb in ("list", "load", "unload", "download") if f"\n  {verb} " not in told] == []


def test_several_lm_studios_have_to_be_told_apart(models, emulator, overlay):
    overlay(
        provider__desk=f"# @package providers.desk\nid: desk\ntype: lmstudio\nendpoint: {emulator.url}\n"
        "locality: loopback\nmodels: [auto]\n"
    )
    code, _, err = models("load", SMALL, "provider=[lmstudio,desk]")
    assert (code, err) == (2, "several LM Studios are selected; choose one: --provider lmstudio or --provider desk\n")
    assert models("load", SMALL, "--provider", "desk", "provider=[lmstudio,desk]")[0] == 0
    assert instances(emulator) == [SMALL]


def test_loading_tells_the_window_that_it_got(models, emulator):
    code, out, err = models("load", SMALL, "--context-length", "8192", "--no-flash-attention")

    assert (code, err) == (0, f"loading {SMALL} on lmstudio: 0 s\n")
    assert out == f"{SMALL} is loaded on lmstudio: window 8192, at most 32768, parallel 4, Q4_K_M, 2.0 GB\n"
    loaded = next(model for model in emulator.state()["models"] if model["key"] == SMALL)["loaded_instances"][0]
    assert loaded["config"].items() >= {"context_length": 8192, "flash_attention": False}.items()


def test_the_profile_says_how_to_load_and_options_say_more(models, emulator):
    usual = "+providers.lmstudio.load={mode:explicit,context_length:2048}"
    assert "window 2048" in models("load", SMALL, usual)[1]
    assert "window 1024" in models("load", LARGE, usual, "--context-length", "1024")[1]


def test_what_is_loaded_is_not_loaded_again(models, emulator):
    models("load", SMALL)
    code, out, err = models("load", SMALL.upper())
    assert (code, "was loaded already" in out, err) == (0, True, "")
    assert instances(emulator) == [SMALL]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--context-length", "16384"], "its window is 4096, not 16384\n"),
        (["--flash-attention", "--num-experts", "2"], "whatever --flash-attention, --num-experts says\n"),
    ],
)
def test_other_settings_than_it_has_are_a_finding(models, emulator, options, complaint):
    models("load", SMALL)
    code, out, err = models("load", SMALL, *options)
    assert (code, "was loaded already" in out) == (1, True)
    assert complaint in err
    assert f"lmroute models unload {SMALL}" in err
    assert instances(emulator) == [SMALL]


def test_what_the_profile_says_of_other_settings_is_no_finding_and_its_window_is(models):
    usual = "+providers.lmstudio.load={mode:explicit,flash_attention:true}"
    assert [models("load", SMALL, usual)[0] for _ in range(2)] == [0, 0]
    code, _, err = models("load", SMALL, "+providers.lmstudio.load={mode:explicit,context_length:2048}")
    assert (code, "its window is 4096, not 2048" in err) == (1, True)


def test_a_window_that_the_model_cannot_have_is_not_asked_for(models, emulator):
    code, out, err = models("load", SMALL, "--context-length", "99999", "--json")
    told = f"a window of 99999 is more than {SMALL} takes, at most 32768\n  help: --context-length of 32768 or less"
    assert (code, json.loads(out)["error"], err) == (1, told, f"{told}\n")
    assert instances(emulator) == []

    code, _, err = models("load", SMALL, "+providers.lmstudio.load={mode:explicit,context_length:99999}")
    assert (code, "help: providers.lmstudio.load.context_length of 32768 or less" in err) == (1, True)


def test_a_copy_is_told_by_its_name(models, emulator):
    models("load", SMALL)
    code, out, _ = models("load", SMALL, "--copy")
    assert (code, f"as {SMALL}:2" in out) == (0, True)
    assert instances(emulator) == [SMALL, f"{SMALL}:2"]


@pytest.mark.parametrize("verb", [["load", SMALL], ["unload", "--all"], ["download", NEW]])
def test_no_server_is_a_finding_with_its_fix_in_every_format(verb, capsys):
    assert main(["models", *verb, NOBODY, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("lmstudio: down: http://127.0.0.1:9/v1: connection refused\n  help: ")
    assert "start LM Studio's server" in err
    assert json.loads(out)["error"] == err.strip()


def test_tokens_are_found_as_everywhere_and_shown_nowhere(models, monkeypatch):
    with running(Settings(models=DISK, require_auth=True, tokens=(Token(Secret(TOKEN)),))) as guarded:
        assert "no token was sent" in models("load", LARGE, url=guarded.url)[2]
        monkeypatch.setenv("LMSTUDIO_API_TOKEN", TOKEN.replace("a1B2", "zzzz"))
        code, _, err = models("load", LARGE, url=guarded.url)
        assert (code, "zzzz" in err, "does not know this token" in err) == (1, False, True)
        monkeypatch.setenv("LM_API_TOKEN", TOKEN)
        assert models("load", LARGE, url=guarded.url)[0] == 0


def test_unloading_takes_an_instance_a_model_or_everything(models, emulator):
    for key in (SMALL, SMALL, LARGE, EMBEDDING):
        emulator.load(key)

    code, _, err = models("unload", SMALL.upper())
    assert (code, f"is loaded 2 times: {SMALL}, {SMALL}:2" in err) == (1, True)
    assert models("unload", f"{SMALL}:2")[:2] == (
        0,
        f"{SMALL}:2 unloaded; loaded on lmstudio: {SMALL}, {LARGE}, {EMBEDDING}\n",
    )
    assert models("unload", LARGE.upper())[0] == 0
    emulator.load(SMALL)
    assert models("unload", SMALL, "--all")[0] == 0
    assert instances(emulator) == [EMBEDDING]
    assert models("unload", SMALL)[:2] == (0, f"{SMALL} was not loaded; loaded on lmstudio: {EMBEDDING}\n")
    code, out, _ = models("unload", "--all", "--json")
    assert (code, json.loads(out)["unloaded"], instances(emulator)) == (0, [EMBEDDING], [])
    code, _, err = models("unload", "test/smal-3b")
    assert (code, f"did you mean '{SMALL}'?" in err) == (1, True)


def test_a_number_means_that_very_instance_and_no_other(models, emulator):
    for _ in range(2):
        emulator.load(SMALL)

    told = [models("unload", f"{SMALL}:2")[:2] for _ in range(2)]

    assert told == [
        (0, f"{SMALL}:2 unloaded; loaded on lmstudio: {SMALL}\n"),
        (0, f"{SMALL}:2 was not loaded; loaded on lmstudio: {SMALL}\n"),
    ]
    assert models("unload", f"{SMALL}:2", "--all")[0] == 0
    code, out, err = models("load", f"{SMALL}:2")
    assert (code, out, f"there is no instance '{SMALL}:2'" in err, "--copy" in err) == (1, "", True, True)
    assert instances(emulator) == [SMALL]
    emulator.load(SMALL)
    assert "was loaded already" in models("load", f"{SMALL}:2".upper())[1]
    models("unload", f"{SMALL}:2".upper())
    assert instances(emulator) == [SMALL]


def test_nothing_to_unload_is_told_plainly(models):
    assert models("unload", "--all") == (0, "nothing is loaded on lmstudio\n", "")


def test_a_load_that_was_left_is_waited_for_and_not_begun_again(models):
    with running(Settings(models=DISK, loaded=(), clock="manual", load_seconds=5)) as slow:
        for _ in range(2):
            code, out, err = models("load", SMALL, "--timeout", "0.3", url=slow.url)
            assert (code, out) == (1, "")
        assert re.search(rf"a load of {SMALL} began \d+ s ago", err)
        assert f"lmroute models load {SMALL} --copy" in err
        assert slow.state()["loading"] == [SMALL]
        slow.advance(5)
        assert models("load", SMALL, url=slow.url)[0] == 0
        assert instances(slow) == [SMALL]


@pytest.mark.parametrize(("verb", "by_hand"), [("load", "lms load"), ("unload", "lms unload"), ("download", "lms get")])
def test_an_old_release_is_told_by_hand_with_the_right_verb(models, verb, by_hand):
    with running(Settings(models=DISK, version=PROFILES["0.3.31"])) as old:
        code, _, err = models(verb, SMALL, url=old.url)
    assert (code, f"LM Studio 0.4 or newer; {verb} it in the app, or with: {by_hand}\n" in err) == (1, True)


def test_a_suggested_command_means_the_same_server(models, emulator):
    models("load", SMALL)
    _, _, err = models("load", SMALL, "--flash-attention", "--provider", "lmstudio", "providers.lmstudio.models=[a b]")
    more = f"'providers.lmstudio.models=[a b]' providers.lmstudio.endpoint={emulator.url}"
    assert f"lmroute models unload {SMALL} --provider lmstudio {more}, then load" in err


def test_an_lm_studio_that_is_off_is_told_among_others(models):
    off = ("provider=[lmstudio,ollama]", "+providers.lmstudio.enabled=false")
    code, _, err = models("load", SMALL, *off)
    assert (code, err.splitlines()[0]) == (2, "provider 'lmstudio' is off")
    assert models("load", SMALL, off[0], "++providers.lmstudio.enabled=true")[0] == 0


@pytest.mark.parametrize(("embeds", "shown"), [(True, "embedding"), (None, "embedding"), (False, "other")])
def test_a_type_that_nobody_knows_is_called_other(embeds, shown):
    (row,) = rows(Profile("desk", "lmstudio"), [ListedModel("sorter", chats=False, embeds=embeds)])
    assert (row.as_data()["type"], row.cells()[2]) == (shown, shown)


def test_a_download_is_told_until_it_is_there(models, emulator):
    code, out, err = models("download", NEW)
    assert (code, out) == (0, f"{NEW} is downloaded on lmstudio\n")
    assert err.startswith(f"downloading {NEW} [....................] 0 % of 0 MB")
    assert models("download", NEW)[:2] == (0, f"{NEW} was downloaded already on lmstudio\n")
    assert NEW in models("lmstudio")[1]


@pytest.mark.parametrize(("end", "advice"), [("paused", "resume it"), ("failed", "room on the disk")])
def test_a_download_that_stops_is_a_finding(models, emulator, end, advice):
    emulator.set_faults(download=end)
    link = f"https://huggingface.co/{NEW}"
    code, out, err = models("download", link, "--quantization", "q8_0", "--json")
    document = json.loads(out)
    assert (code, document["status"], document["message"] in err) == (1, end, True)
    assert advice in err
    assert f"lmroute models download {link} --quantization q8_0" in err


@pytest.mark.parametrize("verb", [["load", LARGE], ["download", NEW]])
def test_ctrl_c_says_that_the_server_goes_on(verb, models, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "tell", interrupted)
    code, out, err = models(*verb)
    assert (code, out) == (130, "")
    assert ("may go on loading: lmroute models" if verb[0] == "load" else f"lmroute models download {NEW}") in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to a process")
@pytest.mark.parametrize("verb", [["load", SMALL], ["download", NEW]])
def test_a_real_ctrl_c_leaves_the_server_to_its_work(verb):
    settings = Settings(models=DISK, loaded=(), downloadable=(Model(NEW),), clock="manual", load_seconds=5)
    with running(settings) as emulator:
        command = [sys.executable, "-m", "lmroute.cli", "models", *verb, f"providers.lmstudio.endpoint={emulator.url}"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        try:
            for _ in range(2000):
                if emulator.state()["waiting"]:
                    break
                time.sleep(0.01)
            process.stderr.readline()  # from now on it waits, and says so
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
        still = emulator.state()

    assert (process.returncode, out) == (130, "")
    assert "lmroute models" in err
    assert "Traceback" not in err
    assert still["loading"] or still["downloads"]


class Terminal:
    """What ``stderr`` is where a person looks at it."""

    def __init__(self):
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text

    def flush(self):
        pass


def test_on_a_terminal_one_line_changes_and_is_gone_at_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "8")
    with progress.shown() as told:
        told.tell("one")
        told.tell("two is too long")
    assert terminal.written.count("\n") == 0
    assert [line.removeprefix("\x1b[K") for line in terminal.written.split("\r")] == ["", "one", "two is ", ""]


def test_elsewhere_a_line_comes_now_and_then(capsys):
    now = iter([0, 1, 14, 16, 17, 40])
    told = progress.Progress(clock=lambda: next(now))
    for n in range(6):
        told.tell(f"line {n}")
    assert capsys.readouterr().err.splitlines() == ["line 0", "line 3", "line 5"]


def test_what_is_waited_for_is_told_and_its_error_is_raised():
    told = []
    assert progress.watched(lambda: time.sleep(0.05) or "done", told.append, tick_s=0.01) == "done"
    assert told[0] < told[1]
    with pytest.raises(TimeoutError):
        progress.watched(lambda: (_ for _ in ()).throw(TimeoutError), told.append)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (size(None), ""),
        (size(999_000_000), "999 MB"),
        (size(12_100_000_000), "12.1 GB"),
        (duration(None), ""),
        (duration(59.4), "59 s"),
        (duration(3600), "60 min 0 s"),
        (duration(7260), "2 h 1 min"),
    ],
)
def test_numbers_are_written_as_people_read_them(shown, expected):
    assert shown == expected
