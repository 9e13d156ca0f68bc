"""``lmroute auth``: tells how keys stand, stores and removes them, and shows none."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lmroute import redact
from lmroute.cli import main

ROOT = Path(__file__).resolve().parents[2]
VALUE = "t0ken-of-a-test"
KEYED = """# @package providers.mine
id: mine
type: openai_compatible
endpoint: http://127.0.0.1:9
models: [m]
auth_token: {keyring: my_entry}
locality: loopback
"""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(redact, "_known", redact.Known())
    for name in ("OPENAI_API_KEY", "LM_API_TOKEN", "LMSTUDIO_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def entries():
    """The entries of a keyring in memory, which stands in for the machine's own."""
    keyring = pytest.importorskip("keyring", reason="the keyring extra is not installed")

    class InMemory(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.kept = {}

        def get_password(self, service, username):
            return self.kept.get((service, username))

        def set_password(self, service, username, password):
            self.kept[service, username] = password

        def delete_password(self, service, username):
            del self.kept[service, username]

    previous = keyring.get_keyring()
    ring = InMemory()
    keyring.set_keyring(ring)
    yield ring.kept
    keyring.set_keyring(previous)


@pytest.fixture
def auth(capsys, monkeypatch):
    """Run ``lmroute auth``; gives exit code, stdout and stderr, in which no secret stands."""

    def run(*words, piped="", asked=None):
        class Terminal(io.StringIO):
            def isatty(self):
                return asked is not None

        def typed(prompt):
            assert VALUE not in prompt
            return asked

        monkeypatch.setattr(sys, "stdin", Terminal(piped))
        monkeypatch.setattr("getpass.getpass", typed)
        try:
            code = main(["auth", *words])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert VALUE not in out + err
        return code, out, err

    return run


class TestStatus:
    def test_what_is_missing_is_told_with_what_to_do(self, auth):
        code, out, err = auth("openai", "lmstudio", "embedded")
        assert code == 1
        assert [line.split() for line in out.splitlines()[1:]] == [
            ["openai", "env", "OPENAI_API_KEY", "no"],
            ["lmstudio", "env", "LM_API_TOKEN", "or", "LMSTUDIO_API_TOKEN", "not", "set,", "optional"],
            ["embedded", "sends", "none"],
        ]
        assert (
            err
            == "openai: environment variable OPENAI_API_KEY is not set, or empty; export it or leave the provider out\n"
        )

    def test_what_is_there_is_said_to_be(self, auth, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", VALUE)
        monkeypatch.setenv("LMSTUDIO_API_TOKEN", VALUE + "2")
        code, out, err = auth("status", "provider=[openai,lmstudio]")
        assert (code, err) == (0, "")
        assert [line.split() for line in out.splitlines()[1:]] == [
            ["openai", "env", "OPENAI_API_KEY", "yes"],
            ["lmstudio", "env", "LMSTUDIO_API_TOKEN", "yes"],
        ]

    def test_as_json(self, auth):
        code, out, _ = auth("--json", "provider=[openai]")
        assert code == 1
        document = json.loads(out)
        assert document["format_version"] == "1.0"
        [row] = document["secrets"]
        assert row.pop("detail").startswith("environment variable OPENAI_API_KEY is not set")
        assert row == {
            "provider": "openai",
            "type": "openai",
            "enabled": True,
            "source": "env",
            "name": "OPENAI_API_KEY",
            "optional": False,
            "present": False,
            "usable": False,
        }

    def test_a_provider_that_is_off_needs_no_key(self, auth):
        code, out, err = auth("provider=[openai]", "++providers.openai.enabled=false")
        assert (code, err) == (0, "")
        assert out.splitlines()[1].endswith("no (off)")

    def test_all_profiles_but_those_that_lack_more(self, auth):
        _, out, err = auth("--all")
        shown = {line.split()[0] for line in out.splitlines()[1:]}
        assert {"anthropic", "openai", "lmstudio", "embedded"} <= shown
        assert "openai_compatible" not in shown
        assert "openai_compatible: left out: a value must be given (providers.openai_compatible.endpoint)\n" in err

    def test_a_command_is_run_only_on_demand(self, auth, overlay, tmp_path):
        ran = tmp_path / "ran"
        argv = json.dumps([sys.executable, "-c", f"open({str(ran)!r}, 'w'); print({VALUE!r})"])
        overlay(provider__mine=KEYED.replace("{keyring: my_entry}", f"{{command: {argv}}}"))
        code, out, _ = auth("mine")
        assert (code, ran.exists()) == (0, False)
        assert out.splitlines()[1].endswith("not run")
        code, out, _ = auth("mine", "--run")
        assert (code, ran.exists()) == (0, True)
        assert out.splitlines()[1].endswith("yes")

    def test_the_collectors_key_too(self, auth, monkeypatch):
        code, _, err = auth("provider=[embedded]", "telemetry=otlp", "++telemetry.otlp.auth_token.env=NO_SUCH_VARIABLE")
        assert code == 1
        assert "telemetry.otlp: environment variable NO_SUCH_VARIABLE is not set" in err

    def test_a_stranger_is_told_who_there_is(self, auth):
        code, _, err = auth("stats")
        assert code == 2
        assert "did you mean" in err


class TestSet:
    @pytest.mark.parametrize(
        "given", [{"piped": f"{VALUE}\n"}, {"piped": f"{VALUE}\r\nmore\n"}, {"asked": f" {VALUE}"}]
    )
    def test_from_a_pipe_or_a_terminal(self, auth, entries, given):
        code, out, err = auth("set", "other", **given)
        assert (code, out, err) == (0, "stored as keyring entry lmroute/other; auth_token: {keyring: other}\n", "")
        assert entries == {("lmroute", "other"): VALUE}

    def test_a_provider_stands_for_its_entry(self, auth, entries, overlay):
        overlay(provider__mine=KEYED)
        assert auth("mine")[0] == 1
        assert "lmroute auth set my_entry" in auth("mine")[2]
        assert auth("set", "mine", piped=VALUE)[0] == 0
        assert entries == {("lmroute", "my_entry"): VALUE}
        assert auth("mine")[:1] == (0,)
        assert auth("clear", "mine")[1] == "removed keyring entry lmroute/my_entry\n"
        assert entries == {}

    @pytest.mark.parametrize("verb", ["set", "clear"])
    def test_a_provider_whose_key_is_elsewhere_is_told_what_to_write(self, auth, entries, verb):
        code, _, err = auth(verb, "openai", piped=VALUE)
        assert code == 2
        assert "its auth_token is env OPENAI_API_KEY; whoever sets that variable keeps it" in err
        advised = ["~providers.openai.auth_token", "+providers.openai.auth_token={keyring: openai_key}"]
        assert " ".join(f"'{word}'" for word in advised) in err
        assert auth("set", "openai_key", piped=VALUE)[0] == 0
        assert auth("provider=[openai]", *advised)[0] == 0
        assert auth("set", "embedded", piped=VALUE)[2].startswith("'embedded' is a provider that sends no token")

    @pytest.mark.parametrize("verb", ["set", "clear"])
    @pytest.mark.parametrize(
        "words",
        [
            ["openai", VALUE],
            ["name", f"key={VALUE}"],
            ["name", "--value", VALUE],
            ["name", f"--key={VALUE}"],
            ["sk-abcdefgh12345678"],
            [""],
            [],
        ],
    )
    def test_a_key_on_the_command_line_is_refused_unseen(self, auth, entries, verb, words):
        code, out, err = auth(verb, *words, piped="another-value")
        assert (code, out, entries) == (2, "", {})
        assert "one name, and no key: what stands on a command line is seen by other programs" in err
        assert "sk-abc" not in err

    @pytest.mark.parametrize("given", [{"piped": ""}, {"piped": "\n"}, {"asked": ""}, {"piped": f"{VALUE} ü"}])
    def test_what_is_no_token_is_not_stored(self, auth, entries, given):
        code, out, err = auth("set", "other", **given)
        assert (code, out, entries) == (2, "", {})
        assert "token" in err

    def test_a_short_one_is_remarked_on(self, auth, entries):
        code, _, err = auth("set", "other", piped="a1b2")
        assert code == 0
        assert err.startswith("note: it is so short")
        assert "a1b2" not in err

    def test_clearing_what_is_not_there_is_no_error(self, auth, entries):
        assert auth("clear", "other") == (0, "there is no keyring entry lmroute/other\n", "")

    def test_without_a_keyring_it_says_what_to_do_instead(self, auth, entries):
        import keyring
        from keyring.backends.fail import Keyring

        keyring.set_keyring(Keyring())
        code, out, err = auth("set", "other", piped=VALUE)
        assert (code, out) == (2, "")
        assert "keep it in a variable, {env: NAME}, or in a file of mode 600, {file: path}" in err


@pytest.mark.slow
def test_with_a_real_keyring(tmp_path):
    """GNOME's keyring on a message bus of its own, from storing to clearing, as a person does it."""
    for program in ("dbus-run-session", "gnome-keyring-daemon"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt-get install gnome-keyring dbus)")
    pytest.importorskip("secretstorage", reason="the keyring extra is not installed, or not for this system")
    auth = f'"{sys.executable}" -m lmroute.cli auth'
    profile = "provider=[openai] '~providers.openai.auth_token' '+providers.openai.auth_token={keyring: it}'"
    script = (
        "printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null\n"
        f"echo {VALUE} | {auth} set it && {auth} {profile} && {auth} clear it && {auth} set it </dev/null\n"
    )
    folders = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", script],
        env={**os.environ, **folders, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "stored as keyring entry lmroute/it; auth_token: {keyring: it}",
        "provider key from usable",
        "openai keyring it yes",
        "removed keyring entry lmroute/it",
    ], done.stderr
    assert done.stderr.endswith("no token was given\n")
    assert VALUE not in done.stdout + done.stderr
