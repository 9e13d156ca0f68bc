"""What a GGUF file says about itself, and what is said about a file that is none."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.errors import EmbeddedUnavailable
from lmroute.providers.embedded.gguf import GgufHeader, read_header

_SCALARS = {
    (0, "B"): st.integers(0, 255),
    (1, "b"): st.integers(-128, 127),
    (3, "h"): st.integers(-(2**15), 2**15 - 1),
    (4, "I"): st.integers(0, 2**32 - 1),
    (6, "f"): st.floats(width=32, allow_nan=False),
    (7, "?"): st.booleans(),
    (10, "Q"): st.integers(0, 2**64 - 1),
    (12, "d"): st.floats(allow_nan=False),
}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def string(value):
    return struct.pack("<I", 8) + text(value)


def u32(value):
    return struct.pack("<II", 4, value)


def gguf(pairs, *, tensors=1, version=3, count=None):
    """A GGUF header, and a few bytes where the weights would be."""
    start = b"GGUF" + struct.pack("<IQQ", version, tensors, len(pairs) if count is None else count)
    return start + b"".join(text(key) + value for key, value in pairs) + bytes(64)


LLAMA = [
    ("general.architecture", string("llama")),
    ("general.name", string("Tiny Llama")),
    ("llama.context_length", u32(2048)),
]

_numbers = st.one_of(
    [
        values.map(lambda value, kind=kind, code=code: struct.pack(f"<I{code}", kind, value))
        for (kind, code), values in _SCALARS.items()
    ]
)
_texts = st.text(max_size=20).map(string)
_number_arrays = st.lists(st.integers(0, 255), max_size=9).map(
    lambda items: struct.pack("<IIQ", 9, 0, len(items)) + bytes(items)
)
_text_arrays = st.lists(st.text(max_size=5), max_size=9).map(
    lambda items: struct.pack("<IIQ", 9, 8, len(items)) + b"".join(map(text, items))
)
_others = st.lists(
    st.tuples(st.from_regex(r"\Atokenizer\.[a-z]{1,8}\Z"), st.one_of(_numbers, _texts, _number_arrays, _text_arrays)),
    max_size=6,
)


@given(others=_others, pairs=st.permutations(LLAMA), at=st.integers(0, 6), version=st.sampled_from([2, 3]))
def test_the_facts_are_found_among_any_other_pairs_in_any_order(tmp_path_factory, others, pairs, at, version):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    path.write_bytes(gguf([*pairs[:1], *others[:at], *pairs[1:], *others[at:]], version=version))
    assert read_header(path) == GgufHeader("llama", "Tiny Llama", 2048)


def test_what_a_model_does_not_say_is_left_open(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf([("general.architecture", string("mamba")), ("llama.context_length", u32(7))]))
    assert read_header(path) == GgufHeader("mamba", "", None)


@given(end=st.integers(0, len(gguf(LLAMA)) - 65))
def test_a_cut_off_file_is_refused_wherever_it_ends(tmp_path_factory, end):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    path.write_bytes(gguf(LLAMA)[:end])
    with pytest.raises(EmbeddedUnavailable, match=r"model\.gguf is (a damaged|not a) GGUF"):
        read_header(path)


@given(garbage=st.binary(max_size=200), at=st.integers(4, 120))
def test_garbage_never_gives_anything_but_a_header_or_the_message(tmp_path_factory, garbage, at):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    path.write_bytes(gguf(LLAMA)[:at] + garbage)
    with contextlib.suppress(EmbeddedUnavailable):
        assert isinstance(read_header(path), GgufHeader)


def test_lengths_that_a_file_only_claims_are_not_believed(tmp_path):
    path = tmp_path / "model.gguf"
    for lie in (struct.pack("<IIQ", 9, 8, 2**60), struct.pack("<IIQ", 9, 12, 2**61), struct.pack("<IQ", 8, 2**62)):
        path.write_bytes(gguf([("tokenizer.x", lie), *LLAMA]))
        with pytest.raises(EmbeddedUnavailable, match="damaged"):
            read_header(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04 a zip file", "is not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (gguf(LLAMA, version=1), "GGUF version 1"),
        (gguf(LLAMA, version=0x03000000), "GGUF version"),
        (gguf(LLAMA, tensors=0), "without weights"),
    ],
)
def test_each_wrong_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "wrong.gguf"
    path.write_bytes(content)
    with pytest.raises(EmbeddedUnavailable, match=message) as failure:
        read_header(path)
    assert str(path) in str(failure.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(EmbeddedUnavailable, match="is a folder"):
        read_header(tmp_path)
    with pytest.raises(EmbeddedUnavailable, match=r"no model file at .*nothing\.gguf; check providers\.embedded"):
        read_header(tmp_path / "nothing.gguf")
