"""A resolved secret shows itself nowhere but where it is asked for."""

import copy
import json
import logging
import pickle
import pprint
import traceback

import pytest

from lmroute.errors import LmrouteError
from lmroute.model import Secret, SecretRef, SecretSource

VALUE = "t0ken-of-a-test"
SECRET = Secret(VALUE)


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        ascii,
        pprint.pformat,
        "{}".format,
        "{!r:>20}".format,
        "{:*^30}".format,
        lambda secret: f"{secret} {secret!s} {secret!r} {secret:<10}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - it is one of the ways
        lambda secret: str([secret, {"token": secret}, (secret,)]),
        lambda secret: json.dumps({"token": secret}, default=str),
        lambda secret: str(logging.LogRecord("x", 10, "", 1, "%s", (secret,), None).getMessage()),
    ],
)
def test_in_text(show):
    shown = show(SECRET)
    assert "***" in shown
    assert VALUE not in shown


def test_in_json():
    with pytest.raises(TypeError, match="Secret is not JSON serializable"):
        json.dumps({"token": SECRET})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_in_a_pickle(protocol):
    with pytest.raises(TypeError, match="a Secret cannot be pickled; pickle its SecretRef") as raised:
        pickle.dumps([SECRET], protocol)
    assert VALUE not in str(raised.value)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_in_a_copy(how):
    with pytest.raises(TypeError, match="cannot be pickled"):
        how(SECRET)


def test_in_a_traceback_with_locals():
    secret = SECRET
    try:
        raise LmrouteError(f"refused with {secret}")
    except LmrouteError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(told.format())
    assert "secret = ***" in text
    assert VALUE not in text


def test_as_attributes():
    assert not hasattr(SECRET, "__dict__")
    assert VALUE not in str(dir(SECRET))


def test_only_where_it_is_asked_for():
    assert SECRET.reveal() == VALUE


def test_equal_secrets_are_equal_and_hash_alike_and_are_no_strings():
    assert Secret(VALUE) == SECRET
    assert hash(SECRET) == hash(Secret(VALUE))
    assert Secret(VALUE + "x") != SECRET
    assert SECRET != VALUE
    assert hash(SECRET) != hash(VALUE)


def test_a_reference_may_be_shown_and_pickled():
    ref = SecretRef(SecretSource.ENV, ("A", "B"))
    assert str(ref) == "env A or B"
    assert str(SecretRef(SecretSource.COMMAND, ("op", "read", "x"))) == "command op read x"
    assert pickle.loads(pickle.dumps(ref)) == ref
