"""References become secrets late, from one source each, and no message shows one."""

import importlib
import os
import shutil
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest

from lmroute import redact, secrets
from lmroute.errors import LmrouteError, MissingExtra, SecretError
from lmroute.model import SecretRef, SecretSource
from lmroute.secrets import Standing, describe, erase, is_missing, resolve, store, system_keyring

ROOT = Path(__file__).resolve().parents[1]
VALUE = "t0ken-of-a-test"
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has no such mode bits")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(redact, "_known", redact.Known())


def env(*names, optional=False):
    return SecretRef(SecretSource.ENV, names, optional)


def file(path, optional=False):
    return SecretRef(SecretSource.FILE, (str(path),), optional)


def command(*argv, optional=False):
    return SecretRef(SecretSource.COMMAND, argv, optional)


def python(code, *, optional=False):
    return command(sys.executable, "-c", code, optional=optional)


def refusal(ref):
    """The message of the SecretError that resolving ends with; neither it nor its causes show the value."""
    with pytest.raises(SecretError) as raised:
        resolve(ref)
    assert VALUE not in "".join(traceback.format_exception(raised.value))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def secret_file(tmp_path):
    """Writes a secret file: ``secret_file(content, mode=0o600) -> path``."""

    def write(content, mode=0o600):
        path = tmp_path / "token"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    return write


class TestEnvironment:
    def test_the_first_that_is_set_counts(self, monkeypatch):
        monkeypatch.setenv("LMROUTE_TEST_SECOND", VALUE)
        monkeypatch.setenv("LMROUTE_TEST_THIRD", "another-value")
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        assert resolve(env("LMROUTE_TEST_FIRST", "LMROUTE_TEST_SECOND", "LMROUTE_TEST_THIRD")).reveal() == VALUE

    @pytest.mark.parametrize("empty", ["", " ", "\n"])
    def test_an_empty_one_is_not_set(self, monkeypatch, empty):
        monkeypatch.setenv("LMROUTE_TEST_FIRST", empty)
        monkeypatch.setenv("LMROUTE_TEST_SECOND", VALUE)
        assert resolve(env("LMROUTE_TEST_FIRST", "LMROUTE_TEST_SECOND")).reveal() == VALUE
        assert is_missing(env("LMROUTE_TEST_FIRST"))

    def test_a_line_end_that_a_shell_left_behind_is_no_part_of_it(self, monkeypatch):
        monkeypatch.setenv("LMROUTE_TEST_FIRST", f"{VALUE}\n")
        assert resolve(env("LMROUTE_TEST_FIRST")).reveal() == VALUE

    def test_none_set_names_them_all_and_the_fix(self, monkeypatch):
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        monkeypatch.delenv("LMROUTE_TEST_SECOND", raising=False)
        message = refusal(env("LMROUTE_TEST_FIRST", "LMROUTE_TEST_SECOND"))
        names = "LMROUTE_TEST_FIRST or LMROUTE_TEST_SECOND"
        assert message.startswith(f"environment variable {names} is not set, or empty; export")

    def test_an_optional_one_may_be_absent(self, monkeypatch):
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        assert resolve(env("LMROUTE_TEST_FIRST", optional=True)) is None


class TestFile:
    def test_its_content_without_line_end(self, secret_file):
        assert resolve(file(secret_file(f"{VALUE}\r\n"))).reveal() == VALUE

    def test_below_the_home_directory(self, tmp_path, monkeypatch, secret_file):
        secret_file(VALUE)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        assert resolve(file("~/token")).reveal() == VALUE

    @POSIX
    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610])
    def test_one_that_others_may_touch_is_refused_with_the_fix(self, secret_file, mode):
        path = secret_file(VALUE, mode)
        assert refusal(file(path)) == f"secret file {path} is readable by others; run: chmod 600 {path}"
        assert is_missing(file(path))

    @pytest.mark.parametrize("content", ["", " \n"])
    def test_an_empty_one_is_absent(self, secret_file, content):
        path = secret_file(content)
        assert refusal(file(path)) == f"secret file {path} is missing or empty; create it with mode 600"
        assert resolve(file(path, optional=True)) is None

    def test_a_missing_one_is_absent(self, tmp_path):
        assert "is missing or empty" in refusal(file(tmp_path / "no"))
        assert resolve(file(tmp_path / "no", optional=True)) is None

    def test_one_that_is_no_text_does_not_show_its_bytes(self, secret_file):
        path = secret_file(VALUE.encode() + b"\xff\xfe")
        assert refusal(file(path)) == f"secret file {path} cannot be read: UnicodeDecodeError"

    def test_a_folder_is_not_told_to_lose_its_mode(self, tmp_path):
        message = refusal(file(tmp_path))
        assert message.startswith(f"secret file {tmp_path} cannot be read: ")
        assert "chmod" not in message

    @pytest.mark.parametrize("name", ["~nobody-of-that-name/token", "a\0b"])
    def test_a_name_that_cannot_be_one(self, name):
        assert "cannot be read" in refusal(file(name))

    @POSIX
    def test_one_that_we_may_not_read(self, secret_file):
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        assert refusal(file(secret_file(VALUE, 0o000))).endswith("cannot be read: Permission denied")


class TestCommand:
    def test_what_it_prints(self):
        assert resolve(python(f"print({VALUE!r})")).reveal() == VALUE

    def test_nothing_printed_is_absent(self):
        assert refusal(python("pass")) == f"secret command {sys.executable!r} printed nothing"
        assert resolve(python("pass", optional=True)) is None

    def test_a_failure_shows_the_exit_code_and_no_output(self):
        code = f"import sys; print({VALUE!r}); print({VALUE!r}, file=sys.stderr); sys.exit(3)"
        assert refusal(python(code)) == f"secret command {sys.executable!r} ended with exit code 3; run it to see why"

    def test_one_that_takes_too_long_is_ended(self, monkeypatch):
        monkeypatch.setattr(secrets, "COMMAND_TIMEOUT_S", 0.5)
        code = f"import time; print({VALUE!r}, flush=True); time.sleep(60)"
        assert refusal(python(code)) == f"secret command {sys.executable!r} did not end within 0.5 s"

    def test_one_that_does_not_exist(self):
        message = refusal(command("no-such-program-of-lmroute", "read", VALUE))
        assert message.startswith("secret command 'no-such-program-of-lmroute' failed: ")

    def test_output_that_is_no_text(self):
        code = f"import sys; sys.stdout.buffer.write({VALUE.encode()!r} + bytes([255]))"
        assert refusal(python(code)) == f"secret command {sys.executable!r} failed: UnicodeDecodeError"

    def test_it_does_not_wait_for_our_own_input(self):
        """Seen from outside, where a terminal or a pipe stays open."""
        reads = (sys.executable, "-c", f"import sys; print(sys.stdin.read() + {VALUE!r})")
        code = (
            "from lmroute.model import SecretRef, SecretSource; from lmroute.secrets import resolve;"
            f"print(resolve(SecretRef(SecretSource.COMMAND, {reads!r})).reveal())"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        outer = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        with outer:
            assert outer.stdout.read().strip() == VALUE
            outer.stdin.close()

    def test_a_failure_is_no_absence(self):
        refusal(python("raise SystemExit(1)", optional=True))


class TestWhatATokenIs:
    @pytest.mark.parametrize(
        "value", [f"{VALUE}\nsecond", f"{VALUE}\rsecond", f"{VALUE}\0", f"{VALUE}\x7f", f"{VALUE}-é"]
    )
    def test_what_a_header_cannot_hold_is_refused_here(self, secret_file, value):
        """HTTP libraries quote the header that they refuse."""
        path = secret_file(value)
        assert refusal(file(path)).startswith(f"file {path} holds more than one line, or characters that are not ASCII")

    @pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="only on Linux are variables bytes")
    def test_a_variable_that_is_no_text(self, monkeypatch):
        monkeypatch.setenv("LMROUTE_TEST_FIRST", os.fsdecode(VALUE.encode() + b"\xff"))
        assert "characters that are not ASCII" in refusal(env("LMROUTE_TEST_FIRST"))

    def test_a_resolved_one_is_known_to_the_redactor(self, secret_file):
        resolve(file(secret_file(VALUE)))
        assert redact.text(f"server says: bad token {VALUE}") == "server says: bad token ***"


class TestIsMissing:
    def test_required_and_absent(self, tmp_path, monkeypatch):
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        assert is_missing(env("LMROUTE_TEST_FIRST"))
        assert is_missing(file(tmp_path / "no"))

    def test_there(self, monkeypatch, secret_file):
        monkeypatch.setenv("LMROUTE_TEST_FIRST", VALUE)
        assert not is_missing(env("LMROUTE_TEST_FIRST"))
        assert not is_missing(file(secret_file(VALUE)))

    def test_optional_ones_never_are(self, tmp_path):
        assert not is_missing(env("LMROUTE_TEST_NO_SUCH", optional=True))
        assert not is_missing(file(tmp_path / "no", optional=True))

    def test_no_command_is_run_to_find_out(self, tmp_path):
        trace = tmp_path / "ran"
        assert not is_missing(python(f"open({str(trace)!r}, 'w')"))
        assert not trace.exists()

    def test_no_keyring_is_asked_to_find_out(self, fake_keyring):
        assert not is_missing(SecretRef(SecretSource.KEYRING, ("absent",)))
        assert fake_keyring.asked == []


@pytest.fixture
def fake_keyring():
    """A keyring in memory, in the place of the machine's own."""
    keyring = pytest.importorskip("keyring", reason="the keyring extra is not installed")

    class InMemory(keyring.backend.KeyringBackend):
        priority = 1

        def __init__(self):
            super().__init__()
            self.entries, self.asked, self.failure = {}, [], None

        def get_password(self, service, username):
            self.asked.append((service, username))
            if self.failure:
                raise self.failure
            return self.entries.get((service, username))

        def set_password(self, service, username, password):
            self.entries[service, username] = password

        def delete_password(self, service, username):
            del self.entries[service, username]

    previous, fake = keyring.get_keyring(), InMemory()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(previous)


class TestKeyring:
    REF = SecretRef(SecretSource.KEYRING, ("lmstudio",))

    def test_an_entry_of_ours(self, fake_keyring):
        fake_keyring.set_password("lmroute", "lmstudio", VALUE)
        assert resolve(self.REF).reveal() == VALUE
        assert fake_keyring.asked == [("lmroute", "lmstudio")]

    def test_no_entry_names_the_command_that_makes_one(self, fake_keyring):
        fake_keyring.set_password("another", "lmstudio", VALUE)
        assert refusal(self.REF) == "keyring has no entry 'lmstudio'; add it: lmroute auth set lmstudio"
        assert resolve(SecretRef(SecretSource.KEYRING, ("lmstudio",), optional=True)) is None

    def test_a_locked_one_is_an_error_even_when_optional(self, fake_keyring):
        from keyring.errors import KeyringLocked

        fake_keyring.failure = KeyringLocked(VALUE)
        ref = SecretRef(SecretSource.KEYRING, ("lmstudio",), optional=True)
        assert refusal(ref) == "keyring entry 'lmstudio' cannot be read: it is locked; unlock it and try again"

    def test_without_the_extra_the_message_names_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "keyring", None)
        with pytest.raises(MissingExtra, match=r"a keyring secret needs .* pip install 'lmroute\[keyring\]'") as raised:
            resolve(self.REF)
        assert isinstance(raised.value, LmrouteError)

    def test_a_real_one(self, tmp_path):
        """GNOME's keyring on a message bus of its own, with its files in a folder of this test."""
        for program in ("dbus-run-session", "gnome-keyring-daemon"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed (apt-get install gnome-keyring dbus)")
        pytest.importorskip("secretstorage", reason="the keyring extra is not installed, or not for this system")
        stores_and_reads = (
            "import keyring; from lmroute.model import SecretRef, SecretSource;"
            "from lmroute.secrets import erase, resolve, store;"
            f"store('lmstudio', {VALUE!r}); store('absent', {VALUE!r}); assert erase('absent');"
            "secret = resolve(SecretRef(SecretSource.KEYRING, ('lmstudio',)));"
            "print(type(keyring.get_keyring()).__module__, secret, secret.reveal(),"
            " resolve(SecretRef(SecretSource.KEYRING, ('absent',), optional=True)))"
        )
        unlocked = 'printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null && exec "$0" -c "$1"'
        folders = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
        done = subprocess.run(
            ["dbus-run-session", "--", "sh", "-c", unlocked, sys.executable, stores_and_reads],
            env={**os.environ, **folders, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert done.stdout.split() == ["keyring.backends.SecretService", "***", VALUE, "None"], done.stderr


class TestPatience:
    """A keyring that hangs, as one does that waits for somebody to unlock it."""

    @pytest.fixture
    def hanging(self, fake_keyring, monkeypatch):
        """The keyring and what lets it go on."""
        monkeypatch.setattr(system_keyring, "TIMEOUT_S", 0.05)
        monkeypatch.setattr(system_keyring, "_turn", system_keyring._Turn())
        go_on, answer = threading.Event(), fake_keyring.get_password

        def get_password(service, name):
            go_on.wait()
            return answer(service, name)

        monkeypatch.setattr(fake_keyring, "get_password", get_password)
        yield fake_keyring, go_on
        go_on.set()

    def test_it_is_not_waited_for_and_asked_one_thing_at_a_time(self, hanging):
        ring, go_on = hanging
        ring.set_password("lmroute", "lmstudio", VALUE)
        ref = SecretRef(SecretSource.KEYRING, ("lmstudio",))
        for _ in range(3):
            assert refusal(ref).startswith(
                "keyring entry 'lmstudio' cannot be read: no answer within 0.05 s; it may be"
            )
        waiting = [thread for thread in threading.enumerate() if thread.name == "lmroute keyring"]
        assert len(waiting) == 1
        assert waiting[0].daemon
        go_on.set()
        waiting[0].join()
        assert resolve(ref).reveal() == VALUE
        assert ring.asked == [("lmroute", "lmstudio")] * 2


class TestStore:
    def test_what_is_stored_is_what_a_reference_finds(self, fake_keyring):
        store("mine", f" {VALUE}\n")
        assert resolve(SecretRef(SecretSource.KEYRING, ("mine",))).reveal() == VALUE
        assert fake_keyring.entries == {("lmroute", "mine"): VALUE}

    def test_what_is_erased_is_found_no_more(self, fake_keyring):
        store("mine", VALUE)
        assert erase("mine")
        assert fake_keyring.entries == {}
        assert not erase("mine")

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            ("", "no token was given"),
            (" \n", "no token was given"),
            (f"{VALUE}\nmore", "more than one line"),
            (f"{VALUE}é", "not ASCII"),
            ("$OPENAI_API_KEY", "the name of a variable"),
            ("${oc.env:OPENAI_API_KEY}", "the name of a variable"),
            ("lm-studio", "stands in for a token"),
            ("EMPTY", "stands in for a token"),
            ("xxxxxxxx", "stands in for a token"),
        ],
    )
    def test_what_is_no_token_is_refused_unseen(self, fake_keyring, value, why):
        with pytest.raises(SecretError, match=why) as raised:
            store("mine", value)
        assert value.strip() == "" or value not in str(raised.value)
        assert fake_keyring.entries == {}

    def test_what_is_refused_is_known_to_the_redactor_all_the_same(self, fake_keyring):
        with pytest.raises(SecretError):
            store("mine", f"{VALUE}é")
        assert redact.text(f"it was {VALUE}é") == "it was ***"

    @pytest.mark.parametrize("value", ["$ecretPassw0rd", "xX9", VALUE])
    def test_what_only_looks_odd_is_taken(self, fake_keyring, value):
        store("mine", value)
        assert fake_keyring.entries == {("lmroute", "mine"): value}

    @pytest.mark.parametrize("backend", ["keyring.backends.fail", "keyring.backends.null"])
    def test_no_keyring_or_one_that_forgets_is_refused_with_what_to_do(self, fake_keyring, backend):
        import keyring

        keyring.set_keyring(importlib.import_module(backend).Keyring())
        with pytest.raises(SecretError, match=r"no keyring that protects what it keeps .*\{env: NAME\}, or in a file"):
            store("mine", VALUE)

    def test_a_plain_file_is_no_keyring(self, fake_keyring, monkeypatch):
        monkeypatch.setattr(type(fake_keyring), "priority", 0.5)
        with pytest.raises(SecretError, match="no keyring that protects"):
            store("mine", VALUE)

    def test_one_that_keeps_nothing_is_noticed(self, fake_keyring, monkeypatch):
        monkeypatch.setattr(fake_keyring, "set_password", lambda *_: None)
        with pytest.raises(SecretError, match="does not keep what it is given"):
            store("mine", VALUE)

    def test_what_a_keyring_says_when_it_fails_is_not_repeated(self, fake_keyring):
        fake_keyring.failure = RuntimeError(VALUE)
        ref = SecretRef(SecretSource.KEYRING, ("mine",))
        assert refusal(ref) == "keyring entry 'mine' cannot be read: RuntimeError"


class TestDescribe:
    def test_a_variable_that_is_set(self, monkeypatch):
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        monkeypatch.setenv("LMROUTE_TEST_SECOND", VALUE)
        found = describe(env("LMROUTE_TEST_FIRST", "LMROUTE_TEST_SECOND"))
        assert found == Standing(SecretSource.ENV, "LMROUTE_TEST_SECOND", present=True)

    def test_one_that_is_not(self, monkeypatch):
        monkeypatch.delenv("LMROUTE_TEST_FIRST", raising=False)
        required, optional = describe(env("LMROUTE_TEST_FIRST")), describe(env("LMROUTE_TEST_FIRST", optional=True))
        assert (required.present, required.is_usable) == (False, False)
        assert "export it" in required.detail
        assert (optional.present, optional.is_usable) == (False, True)

    def test_a_command_is_run_only_when_that_is_asked_for(self, tmp_path):
        ref = python(f"open({str(tmp_path / 'ran')!r}, 'w'); print({VALUE!r})")
        assert describe(ref).present is None
        assert not (tmp_path / "ran").exists()
        assert describe(ref, run=True).present
        assert (tmp_path / "ran").exists()

    def test_an_entry_of_the_keyring(self, fake_keyring):
        ref = SecretRef(SecretSource.KEYRING, ("mine",))
        assert "lmroute auth set mine" in describe(ref).detail
        store("mine", VALUE)
        assert describe(ref) == Standing(SecretSource.KEYRING, "mine", present=True)
        fake_keyring.failure = RuntimeError(VALUE)
        assert not describe(SecretRef(SecretSource.KEYRING, ("mine",), optional=True)).is_usable

    def test_nothing_in_it_is_the_value(self, monkeypatch, secret_file):
        monkeypatch.setenv("LMROUTE_TEST_FIRST", VALUE)
        path = secret_file(VALUE, 0o644)
        for ref in (env("LMROUTE_TEST_FIRST"), file(path), python(f"print({VALUE!r})")):
            assert VALUE not in repr(describe(ref, run=True))
