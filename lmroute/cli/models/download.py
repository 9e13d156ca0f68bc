"""Have LM Studio download a model, or join a download that is under way.

LM Studio downloads by itself: Ctrl-C ends the watching only, and the same command goes on watching.

  lmroute models download rookery/plover-1b-instruct
  lmroute models download https://huggingface.co/rookery/plover-1b-instruct-GGUF --quantization Q4_K_M

Exit codes: 0 it is there, 1 it is not (failed, paused), 2 wrong usage, 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.cli.failures import told_as
from lmroute.cli.output import emit

if TYPE_CHECKING:
    import argparse

    from lmroute.model import Profile
    from lmroute.providers.lmstudio.downloads import Progress

FORMAT_VERSION = "1.0"
_TOTAL_S = 10.0
_BAR = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", nargs="+", metavar="MODEL|URL|OVERRIDE",
        help="a key of lmstudio.ai/models, or an address on huggingface.co; overrides as for run.py")  # fmt: skip
    add("--quantization", metavar="Q", help="which file of a Hugging Face repository: Q4_K_M, Q8_0 ...")
    add("--provider", metavar="ID", help="which LM Studio, where several are selected or another one is meant")
    add("--json", action="store_true", help="the result for programs")


def run(arguments: argparse.Namespace) -> int:
    """Download, and tell how it ended."""
    with told_as("json" if arguments.json else "text"):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help needs neither Hydra nor an HTTP client.
    from lmroute.cli.models.choice import line_to, lmstudio, one_name, told  # noqa: PLC0415
    from lmroute.cli.models.progress import shown  # noqa: PLC0415
    from lmroute.providers.lmstudio.downloads import download  # noqa: PLC0415

    name, overrides = one_name(arguments.words, "model")
    profile = lmstudio(arguments.provider, overrides, "download")
    now = None
    try:
        with told(profile), shown() as progress:
            for now in download(line_to(profile, _TOTAL_S), name, arguments.quantization):
                if not now.is_over:
                    progress.tell(_line(name, now))
    except KeyboardInterrupt:
        if now:
            again = _again(name, overrides, arguments)
            print(redact.text(f"{profile.id} goes on downloading; to watch it again: {again}"), file=sys.stderr)
        raise
    assert now is not None  # noqa: S101  a download tells at least once
    return _ended(profile, name, now, _complaint(name, now, _again(name, overrides, arguments)), as_json=arguments.json)


def _ended(profile: Profile, name: str, now: Progress, complaint: str, *, as_json: bool) -> int:
    if as_json:
        document = {
            "format_version": FORMAT_VERSION,
            "provider": profile.id,
            "model": name,
            "status": now.status,
            "total_bytes": now.total,
            "message": complaint,
        }
        emit(redact.text(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")
    elif not complaint:
        emit(redact.text(f"{name} {_GOOD[now.status]} on {profile.id}\n"))
    if complaint:
        print(redact.text(complaint), file=sys.stderr)
    return int(bool(complaint))


_GOOD = {"completed": "is downloaded", "already_downloaded": "was downloaded already"}


def _again(name: str, overrides: list[str], arguments: argparse.Namespace) -> str:
    from lmroute.cli.models.choice import command  # noqa: PLC0415  see _run

    which = ("--quantization", arguments.quantization) if arguments.quantization else ()
    return command("download", name, *which, provider=arguments.provider, overrides=overrides)


def _complaint(name: str, now: Progress, again: str) -> str:
    from lmroute.cli.models.rows import size  # noqa: PLC0415  see _run

    if now.status in _GOOD:
        return ""
    so_far = f"{size(now.done)} of {size(now.total) or 'unknown size'}"
    if now.status == "paused":
        return (
            f"the download of {name} is paused at {so_far}\n  help: resume it in LM Studio's Downloads, then: {again}"
        )
    return (
        f"the download of {name} failed at {so_far}\n"
        f"  help: is there room on the disk, and a network? LM Studio's Downloads tell more; then: {again}"
    )


def _line(name: str, now: Progress) -> str:
    from lmroute.cli.models.rows import duration, size  # noqa: PLC0415  see _run

    speed = f", {size(now.bytes_per_s)}/s" if now.bytes_per_s else ""
    left = f", {duration(now.left_s)} left" if now.left_s is not None else ""
    if not now.total:
        return f"downloading {name}: {size(now.done)}{speed}"
    part = min(1.0, now.done / now.total)
    bar = ("#" * round(part * _BAR)).ljust(_BAR, ".")
    return f"downloading {name} [{bar}] {100 * part:.0f} % of {size(now.total)}{speed}{left}"
