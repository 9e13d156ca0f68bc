"""Make a project: profiles, policies and experiments of your own in conf/, checked by editor, commit and CI.

conf/.lmroute marks a project: whatever is started in its folder, or in one below it in the same repository or in your
home directory, can choose the files in its conf/ besides the shipped ones. In a project that is there already this verb
brings the workflow and the editor's schemas up to date and leaves conf/ alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.scaffold.pieces import Kind
from lmroute.scaffold.plan import Planned, State, plan
from lmroute.scaffold.writing import write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

FINDING = 1
_NEXT = """\
Next: {cd}lmroute validate
      lmroute validate provider=my_server routing=my_policy
      lmroute policy test my_policy
      pre-commit install"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="(default: this one)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--force", "--yes", "-y", action="store_true", help="replace files that differ without asking")
    answer.add_argument("--keep", action="store_true", help="keep files that differ without asking")


def run(arguments: argparse.Namespace) -> int:
    """Make it, after every check and every question."""
    planned = plan(arguments.folder.absolute())
    if arguments.dry_run:
        return _tell_what_would_be(planned)
    kept = _kept([item for item in planned if item.state is State.DIFFERENT], arguments)
    if kept is None:
        return FINDING
    for item in planned:
        if item.state in {State.NEW, State.DIFFERENT} and item not in kept:
            write(item.path, item.piece.text)
            print(f"{'made' if item.state is State.NEW else 'replaced':<10}{item.piece.name}")
    for item in kept:
        print(f"{'kept':<10}{item.piece.name}")
    _tell_what_is_next(planned, arguments.folder)
    return 0


def _kept(different: Sequence[Planned], arguments: argparse.Namespace) -> list[Planned] | None:
    """Which of the files that differ are to stay as they are; None when nobody can be asked."""
    if arguments.force or not different:
        return []
    if arguments.keep:
        return list(different)
    if sys.stdin.isatty():
        return [item for item in different if not _agreed(item)]
    names = "".join(f"  {item.piece.name}\n" for item in different)
    print(
        f"nothing was written, because these files are there and differ:\n{names}"
        "  help: --force replaces them, --keep leaves them, --dry-run shows how they differ",
        file=sys.stderr,
    )
    return None


def _agreed(item: Planned) -> bool:
    """Show how a file differs and ask whether to replace it."""
    try:
        print(redact.text(item.diff), file=sys.stderr)
        print(f"replace {item.piece.name}? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    except KeyboardInterrupt:
        print("\nnothing was written", file=sys.stderr)
        raise


def _tell_what_would_be(planned: Sequence[Planned]) -> int:
    """Print it for ``--dry-run``."""
    for item in planned:
        if item.state is State.NEW:
            print(f"would make {item.piece.name}")
        elif item.state is State.DIFFERENT:
            print(f"would replace {item.piece.name}, if you agree:\n{redact.text(item.diff)}")
    _tell_what_is_left(planned)
    return 0


def _tell_what_is_next(planned: Sequence[Planned], folder: Path) -> None:
    """What is to be added by hand, and in a new project what to type first."""
    _tell_what_is_left(planned)
    if any(item.state is State.NEW and item.piece.kind is Kind.EXAMPLE for item in planned):
        print(_NEXT.format(cd="" if folder.absolute() == Path.cwd() else f"cd {folder}; "))
        if (repository := _repository_above(folder.absolute())) is not None:
            print(
                f"      move .pre-commit-config.yaml and .github to {repository}, for they are read at a repository's\n"
                f"      root only, and let them run in this folder"
            )


def _repository_above(folder: Path) -> Path | None:
    """The root of the repository that a folder is somewhere inside of."""
    root = next((above for above in [folder, *folder.parents] if (above / ".git").exists()), folder)
    return None if root == folder else root


def _tell_what_is_left(planned: Sequence[Planned]) -> None:
    """What is to be added by hand to files of other tools."""
    if all(item.state is State.SAME for item in planned):
        print("everything is there already")
    for item in planned:
        if item.state is State.FOREIGN:
            print(f"{item.piece.name} is there and stays as it is; add this to it:\n{item.piece.text}")
