"""What is logged holds no secret, whoever wrote the line and whoever's handler takes it."""

import ast
import io
import json
import logging
import logging.config
import os
import sys
from pathlib import Path

import pytest
import yaml

from lmroute import logs, redact

PACKAGE = Path(logs.__file__).parent
VALUE = "t0ken-of-a-test"
KEY = "sk-abcdefgh12345678"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(redact, "_known", redact.Known())
    redact.remember(VALUE)


class Kept(logging.Handler):
    """A user's own handler, which keeps the records as it gets them."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def heard():
    """The records that a handler of the user's gets from lmroute's loggers."""
    handler, parent = Kept(), logging.getLogger("lmroute")
    parent.addHandler(handler)
    parent.setLevel(logging.DEBUG)
    yield handler.records
    parent.removeHandler(handler)
    parent.setLevel(logging.NOTSET)


def everything(record):
    """All that a handler could find in a record."""
    return repr({**record.__dict__, "formatted": logging.Formatter().format(record)})


LOG = logs.logger("lmroute.test")


class TestOurLines:
    @pytest.mark.parametrize(
        ("message", "arguments"),
        [
            (f"refused {VALUE}", ()),
            ("refused %s", (VALUE,)),
            ("refused %s", (RuntimeError(VALUE),)),
            ("refused %r and %s", ({"headers": {"x-api-key": "plainwords"}}, [VALUE])),
            ("refused %(token)s", ({"token": "plainwords"},)),
            ("first letters %.2s", (VALUE,)),
            (RuntimeError(VALUE), ()),
            ({"authorization": "plainwords"}, ()),
            ("no place for it", (VALUE,)),
            ("%d", (KEY,)),
        ],
    )
    def test_message_and_arguments(self, heard, message, arguments):
        LOG.warning(message, *arguments)
        [record] = heard
        assert not any(secret in everything(record) for secret in (VALUE, KEY, "plainwords"))

    def test_a_traceback_with_its_causes_and_without_its_frames(self, heard):
        try:
            try:
                raise ValueError(f"header {VALUE}")
            except ValueError as error:
                raise RuntimeError("could not ask") from error
        except RuntimeError:
            LOG.exception("it went wrong")
        [record] = heard
        assert "ValueError: header ***" in record.exc_text
        assert "RuntimeError: could not ask" in logging.Formatter().format(record)
        assert record.exc_info is None
        assert VALUE not in everything(record)

    def test_a_stack(self, heard):
        LOG.warning("here", stack_info=True)
        assert "test_a_stack" in heard[0].stack_info
        heard.clear()
        exec(compile(f"LOG.warning('here', stack_info=True)  # {VALUE}", "<test>", "exec"), {"LOG": LOG})
        assert VALUE not in everything(heard[0])

    def test_what_extra_adds(self, heard):
        LOG.warning("x", extra={"provider": "openai", "api_key": "plainwords", "about": {"said": VALUE}, "tokens": 12})
        [record] = heard
        assert (record.provider, record.api_key, record.about, record.tokens) == ("openai", "***", {"said": "***"}, 12)

    def test_without_secrets_template_and_arguments_stay_apart(self, heard):
        LOG.warning("%s took %d ms", "openai", 12)
        [record] = heard
        assert (record.msg, record.args) == ("%s took %d ms", ("openai", 12))
        assert record.getMessage() == "openai took 12 ms"

    def test_formatters_that_unpack_the_arguments_still_find_them(self, heard):
        """As uvicorn's does with its access log."""
        LOG.warning('%s - "%s %s" %d', "127.0.0.1:1", "GET", f"/?key={KEY}", 200)
        [record] = heard
        assert record.args == ("127.0.0.1:1", "GET", "/?key=***", 200)

    def test_a_percent_sign_in_what_was_redacted_is_no_template(self, heard):
        LOG.warning("%s at 100 %", VALUE)
        LOG.warning(f"{VALUE} of %s", "100 %s")
        said = [record.getMessage() for record in heard]
        assert said[0].startswith("%s at 100 % ('***',) (")
        assert said[1] == "*** of 100 %s"

    def test_an_object_is_not_left_for_handlers_to_look_into(self, heard):
        class Client:
            def __str__(self):
                return "client"

        LOG.warning("made %s", Client())
        assert (heard[0].msg, heard[0].args) == ("made client", ())

    @pytest.mark.usefixtures("_logging_as_it_was")
    def test_nobody_listening_is_told_nothing(self, capsys):
        LOG.error("hello")
        assert capsys.readouterr().err == ""

    def test_a_name_of_somebody_else_is_refused(self):
        with pytest.raises(ValueError, match=r"lmroute logs under lmroute\.\*, and 'lmrouter\.x' is not"):
            logs.logger("lmrouter.x")


def test_every_module_logs_through_it():
    """``logging.getLogger`` would give a logger that redacts nothing, unless its name is somebody else's."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                name = node.args[0] if node.args else None
                is_ours = name is None or (isinstance(name, ast.Constant) and str(name.value).startswith("lmroute"))
                assert file == PACKAGE / "logs.py" or not (is_ours or ast.unparse(name) == "__name__"), file


def test_the_filter_redacts_other_libraries_lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(logs.RedactingFilter())
    other = logging.getLogger("somebody.else")
    other.addHandler(handler)
    try:
        headers = {"Authorization": "Bearer plainwords", "x-api-key": "plainwords"}
        other.warning("HTTP Request: %s %s", "GET", f"https://me:{VALUE}@host/?key={KEY}")
        other.warning("Request options: %s", {"headers": headers, "max_tokens": 12})
        other.warning("%s", headers)
    finally:
        other.removeHandler(handler)
    said = stream.getvalue()
    assert not any(secret in said for secret in (VALUE, KEY, "plainwords"))
    assert "HTTP Request: GET https://me:***@host/?key=***" in said
    assert "'max_tokens': 12" in said


class TestJsonFormatter:
    @pytest.fixture
    def line(self):
        """Format a record and read it back: ``line(message, *args, **extra)``."""

        def written(message, *args, exc_info=None, **extra):
            record = logging.LogRecord("lmroute.engine", logging.WARNING, __file__, 1, message, args, exc_info)
            record.__dict__.update(extra)
            text = logs.JsonFormatter().format(record)
            assert "\n" not in text
            return json.loads(text)

        return written

    def test_the_fields(self, line):
        written = line("%s: no answer", "openai", provider="openai", errorCode="timeout", created=1700000000.1234)
        assert written == {
            "ts": "2023-11-14T22:13:20.123Z",
            "level": "WARNING",
            "logger": "lmroute.engine",
            "message": "openai: no answer",
            "provider": "openai",
            "errorCode": "timeout",
        }

    def test_an_exception_is_a_field(self, line):
        try:
            raise ValueError(VALUE)
        except ValueError:
            written = line("x", exc_info=sys.exc_info())
        assert written["exception"].endswith("ValueError: ***")

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (float("nan"), "nan"),
            ({1: float("inf"), (2,): b"x"}, {"1": "inf", "***": "x"}),
            ({"a"}, ["a"]),
            (Path("x"), "x"),
            ("\ud800", "\ud800"),
            (KEY, "***"),
            ("line\nline", "line\nline"),
        ],
    )
    def test_whatever_is_added_it_is_json_without_secrets(self, line, value, shown):
        assert line("x", about=value)["about"] == shown

    def test_what_is_added_cannot_take_the_place_of_a_field(self, line):
        assert line("x", level="none", ts=0)["level"] == "WARNING"


def test_a_private_file_is_for_its_owner(tmp_path):
    handler = logs.PrivateFileHandler(tmp_path / "run.log")
    handler.emit(logging.makeLogRecord({"msg": "naïve \ud800"}))
    handler.close()
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "naïve \\ud800\n"
    if os.name == "posix":
        assert (tmp_path / "run.log").stat().st_mode & 0o777 == 0o600


CHOICES = sorted((PACKAGE.parent / "conf" / "hydra" / "job_logging").glob("*.yaml"))


@pytest.fixture
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("_logging_as_it_was")
@pytest.mark.parametrize("choice", CHOICES, ids=lambda path: path.stem)
def test_hydras_choices_redact_whatever_library_writes(choice, tmp_path, capsys):
    config = yaml.safe_load(choice.read_text(encoding="utf-8"))
    config["handlers"]["file"]["filename"] = str(tmp_path / "run.log")
    logging.config.dictConfig(config)
    logging.getLogger("httpx").warning("GET https://host/?key=%s", KEY)
    LOG.warning("said %s", VALUE)
    said = capsys.readouterr()
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert said.err.splitlines() == lines
    assert said.out == ""
    assert not any(secret in said.err for secret in (KEY, VALUE))
    assert (lines[0][0] == "{") == (choice.stem == "lmroute_json")


def test_hydra_composes_them():
    from hydra.types import RunMode

    from lmroute.config.compose import _loader

    for choice in CHOICES:
        config = _loader().load_configuration("config", [f"hydra/job_logging={choice.stem}"], RunMode.RUN)
        assert config.hydra.job_logging.handlers.file["class"] == "lmroute.logs.PrivateFileHandler"
