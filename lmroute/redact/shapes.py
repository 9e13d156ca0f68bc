"""The net of patterns: what looks like a key, whoever's it is.

It looks at every record and log line, so each pattern begins with one literal character, which the interpreter finds
at the speed of memory, and looks back from there. What precedes that character and belongs to the key is captured
where it looks back. So a match reaches from its last group, if it has one, to its end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = r"(?:(?<!\w)|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
"""No letter before it. In JSON text the letter of an escape stands before what is on a new line."""
_QUOTE = r"(?:\\{0,3}[\"'])?"
_SAID = rf"{_QUOTE}\s*[:=,]\s*b?{_QUOTE}"
"""What stands between a name and its value in a header, in JSON, in Python, in YAML."""
_NAMES_ONLY = r"(?!(?:[A-Z]+_[A-Z_]+|none|null|true|false|missing|required|invalid|unset|empty|string)\b)"
"""``?key=API_KEY`` is documentation."""
_VALUE = rf"{_NAMES_ONLY}[A-Za-z0-9._~+/=:!^@#%|-]"
_HAS_DIGIT = r"(?=[^\s\"',;\\]*\d)"
_BASE64ISH = r"[A-Za-z0-9._~+/=:|-]"

_HYPHEN = "|".join(
    (
        # OpenAI, Anthropic, OpenRouter, Cerebras; LM Studio's has a colon. scikit-learn is none.
        rf"(?<={_START}([spr]k-))(?!learn\b)[A-Za-z0-9_-]{{8,}}(?::[A-Za-z0-9]+)?",
        rf"(?<={_START}(csk-))[A-Za-z0-9]{{20,}}",
        r"(?<=(xai-))[A-Za-z0-9]{20,}",
        r"(?<=(pplx-))[A-Za-z0-9]{20,}",  # Perplexity
        r"(?<=(nvapi-))[A-Za-z0-9_-]{20,}",  # NVIDIA
        r"(?<=(xox[abeprs]-))[A-Za-z0-9-]{10,}",  # Slack
        r"(?<=(glpat-))[A-Za-z0-9_-]{15,}",  # GitLab
        rf"(?<=(?i:api)-)(?i:key){_SAID}{_HAS_DIGIT}({_VALUE}{{8,}})",
    )
)
_PEM = r"----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\+[nr]|[A-Za-z0-9+/=\s])*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
_UNDERSCORE = "|".join(
    (
        r"(?<=(hf_))[A-Za-z0-9]{20,}",  # Hugging Face
        r"(?<=(gsk_))[A-Za-z0-9]{20,}",  # Groq
        r"(?<=(gh[pousr]_))[A-Za-z0-9]{20,}",  # GitHub
        r"(?<=(github_pat_))[A-Za-z0-9_]{20,}",
        r"(?<=(r8_))[A-Za-z0-9]{30,}",  # Replicate
        r"(?<=(tgp_v1_))[A-Za-z0-9_-]{30,}",  # Together
        r"(?<=(lsv2_))[a-z]{2}_[A-Za-z0-9_]{30,}",  # LangSmith
        rf"(?<=(?i:api)_)(?i:key){_SAID}{_HAS_DIGIT}({_VALUE}{{8,}})",
    )
)
_NAMES = "|".join(
    rf"(?<={name}=)"
    for name in (
        *(rf"[?&]{name}" for name in ("key", "token", "sig", "signature", "apikey")),
        *(f"{which}_token" for which in ("access", "auth", "refresh")),
        *(r"api[-_]key", "secret", "password", "passwd"),
    )
)

_PATTERNS = tuple(
    (guard, re.compile(pattern))
    for guard, pattern in (
        ("-", rf"-(?:(?<=[kixtabeprsI]-)(?:{_HYPHEN})|{_PEM})"),  # the letters save trying each one
        ("_", rf"_(?<=[fkpousrt812iI]_)(?:{_UNDERSCORE})"),
        ("A", r"A(?:Iza[A-Za-z0-9_-]{20,}|(?:KI|SI)A[A-Z0-9]{16}(?![A-Za-z0-9]))"),  # Google, AWS
        ("J", r"J(?<=(eyJ))[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?"),  # a JWT
        ("=", rf"=(?:{_NAMES}){_QUOTE}({_VALUE}{{6,}})"),  # in a URL's query, a form, a Python call
        ("@", r"/(?<=://)[^\s/@:\"'<>\\]*:([^\s/@\"'<>\\]+)(?=@)"),  # the password of a URL
        ("uthorization", rf"uthorization{_SAID}(?i:bearer|basic|token|apikey)\s+({_BASE64ISH}{{6,}})"),
        # Elsewhere a word may follow: "bearer authentication".
        ("earer ", rf"earer (?=[A-Za-z.-]*(?:[0-9_~+|]|[a-z][A-Z])|{_BASE64ISH}{{24}})({_BASE64ISH}{{6,}})"),
    )
)


def spans(message: str) -> Iterator[tuple[int, int]]:
    """Where keys stand, as start and end; they may overlap."""
    for guard, pattern in _PATTERNS:
        if guard in message:
            yield from ((found.start(found.lastindex or 0), found.end()) for found in pattern.finditer(message))
