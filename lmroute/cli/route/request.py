"""The request that flags describe, and the circumstances under which it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lmroute.config.complaints import did_you_mean
from lmroute.config.secrecy import quoted
from lmroute.errors import LmrouteError
from lmroute.model import BUILT_IN, LOTS, Attributes, Domain, Kind, Privacy
from lmroute.routing.scenario import Scenario
from lmroute.routing.selectors import choosable
from lmroute.routing.vocabulary import Vocabulary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from lmroute.model import Stack

_NEEDS = ("tools", "response_schema", "vision", "reasoning")
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_OF_REQUEST = (
    "task", "module", "signature", "predictor", "tags", "privacy", "needs", "prompt_tokens", "max_output_tokens",
    "stream", "own", "use", "lot",
)  # fmt: skip
_OF_SCENARIO = ("down", "throttled", "budgets", "load", "latency")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks about.

    Attributes:
        budgets: how much of each is used, in percent.
    """

    attributes: Attributes
    scenario: Scenario
    budgets: Mapping[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    request = parser.add_argument_group("the request", "What is not given is as by default: privacy is internal.")
    add = request.add_argument
    for name, what in (
        ("task", "the task's name"),
        ("module", "the DSPy module that calls"),
        ("signature", "the DSPy signature that is filled in"),
        ("predictor", "the predictor's place in the program, like rag.generate"),
    ):
        add(f"--{name}", metavar="NAME", default="", help=what)
    add("--tag", action="append", default=[], dest="tags", metavar="TAG", help="a tag of the request; may be repeated")
    add("--privacy", choices=[word.value for word in Privacy], help="what the request says about its data")
    add("--needs", action="append", default=[], metavar="WHAT", help=f"what it needs, of {', '.join(_NEEDS)}")
    for need in _NEEDS:
        dashed = need.replace("_", "-")
        add(f"--needs-{dashed}", action="append_const", dest="needs", const=need, help=f"the same as --needs {need}")
    add("--prompt-tokens", type=_count, default=0, metavar="N", help="size of the prompt")
    add("--max-output-tokens", type=_count, default=0, metavar="N", help="the answer's length bound; 0 leaves it open")
    add("--stream", action="store_true", help="the answer is streamed")
    add("--set", action="append", default=[], dest="own", metavar="NAME=VALUE",
        help="an attribute that the policy declares itself: tier=pro; a set is written tiers=a,b")  # fmt: skip
    add("--use", default="", metavar="PROVIDER", help="the caller's own choice: openai, or openai/gpt-4.1-mini")
    add("--lot", type=_lot, metavar="N", help=f"the lot that weighted orders draw by, 0 to {LOTS - 1}")

    facts = parser.add_argument_group("the circumstances", "PROVIDER is a provider's id, or provider/model.")
    add = facts.add_argument
    add("--down", action="append", default=[], metavar="PROVIDER,…", help="servers that do not answer")
    add("--throttled", action="append", default=[], metavar="PROVIDER,…", help="servers that asked for a pause")
    add("--budget-used", action="append", default=[], dest="budgets", metavar="NAME[=PERCENT]",
        help="how much of a budget is used; 100 if not said, and less passes nobody over")  # fmt: skip
    add("--load", action="append", default=[], metavar="PROVIDER=N", help="calls under way; 0 if not given")
    add("--latency", action="append", default=[], metavar="PROVIDER=MS", help="how long it takes to answer")


def given(arguments: argparse.Namespace) -> list[str]:
    """The flags that describe a request or its circumstances, of those that were given."""
    return [name for name in (*_OF_REQUEST, *_OF_SCENARIO) if getattr(arguments, name) not in (None, "", [], 0, False)]


def asked(arguments: argparse.Namespace, stack: Stack) -> Asked:
    """What the flags say. Raises LmrouteError for a word that the policy or the providers do not know."""
    policy = stack.policy
    attributes = Attributes(
        task=arguments.task,
        module=arguments.module,
        signature=arguments.signature,
        predictor=arguments.predictor,
        tags=frozenset(arguments.tags),
        privacy=Privacy(arguments.privacy or Privacy.INTERNAL),
        **{f"needs_{need}": True for need in _needs(arguments.needs)},
        prompt_tokens=arguments.prompt_tokens,
        max_output_tokens=arguments.max_output_tokens,
        stream=arguments.stream,
        own=dict(_own(word, policy.attributes) for word in arguments.own),
        use=arguments.use,
        lot=arguments.lot or 0,
    )
    if problem := Vocabulary.of(policy).problem(attributes):
        raise LmrouteError(problem)
    if arguments.use:
        _known(arguments.use, stack, "--use")
    budgets = dict(_budget(word, stack) for word in arguments.budgets)
    scenario = Scenario(
        down=frozenset(_named("--down", arguments.down, stack)),
        throttled=frozenset(_named("--throttled", arguments.throttled, stack)),
        budgets_used=frozenset(name for name, percent in budgets.items() if percent >= 100),  # noqa: PLR2004
        load=dict(_measured("--load", word, int, stack) for word in arguments.load),
        latency_ms=dict(_measured("--latency", word, float, stack) for word in arguments.latency),
    )
    return Asked(attributes, scenario, budgets)


def _needs(words: Iterable[str]) -> list[str]:
    named = [name.strip().replace("-", "_") for word in words for name in word.split(",")]
    for name in named:
        if name not in _NEEDS:
            _refuse(f"--needs {name}", "a request has no such need", did_you_mean(name, _NEEDS) or _listed(_NEEDS))
    return named


def _own(word: str, attributes: Mapping[str, Domain]) -> tuple[str, Any]:
    """An attribute of the policy's own with its value, as its type has it."""
    name, equals, text = word.partition("=")
    if not equals:
        _refuse(f"--set {word}", "no value", "write --set NAME=VALUE")
    if name in BUILT_IN:
        _refuse(f"--set {name}", "that attribute is built in", "it has a flag of its own; see --help")
    domain = attributes.get(name)
    if domain is None:
        known = [own for own in attributes if own not in BUILT_IN]
        advice = did_you_mean(name, known) or _listed(known) if known else "it declares none"
        _refuse(f"--set {name}", "the policy declares no such attribute", advice)
    try:
        return name, _READ[domain.kind](text)
    except ValueError:
        example = _EXAMPLE[domain.kind]
        return _refuse(f"--set {name}", f"{quoted(text, name)} is no {domain.kind.value}", f"write {name}={example}")


def _truth(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError
    return text.lower() in _TRUE


_READ: Mapping[Kind, Callable[[str], Any]] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.BOOL: _truth,
    Kind.SET: lambda text: frozenset(filter(None, text.split(","))),
    Kind.ENUM: str,
    Kind.TEXT: str,
}
_EXAMPLE = {Kind.INT: "3", Kind.FLOAT: "0.5", Kind.BOOL: "true"}


def _budget(word: str, stack: Stack) -> tuple[str, float]:
    name, equals, text = word.partition("=")
    known = [budget.name for budget in stack.policy.budgets]
    if name not in known:
        advice = did_you_mean(name, known) or (_listed(known) if known else "it has none")
        _refuse(f"--budget-used {name}", f"policy '{stack.policy.name}' has no such budget", advice)
    return name, _number("--budget-used", word, text.removesuffix("%"), float) if equals else 100.0


def _named(flag: str, words: Iterable[str], stack: Stack) -> list[str]:
    return [_known(name.strip(), stack, flag) for word in words for name in word.split(",")]


def _measured(flag: str, word: str, kind: Callable[[str], Any], stack: Stack) -> tuple[str, Any]:
    name, _, text = word.rpartition("=")
    if not name:
        _refuse(f"{flag} {word}", "no number", f"write {flag} PROVIDER=NUMBER")
    return _known(name, stack, flag), _number(flag, word, text, kind)


def _number(flag: str, word: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = -1
    return number if 0 <= number < float("inf") else _refuse(f"{flag} {word}", f"{text!r} is no such number", "")


def _known(name: str, stack: Stack, flag: str) -> str:
    """A provider, or ``provider/model``, that is selected."""
    provider, _, model = name.partition("/")
    profile = stack.providers.get(provider)
    if profile is None:
        selected = list(stack.providers)
        advice = did_you_mean(provider, selected) or f"selected: {', '.join(selected)}"
        _refuse(f"{flag} {name}", f"provider '{provider}' is not selected", advice)
    if not choosable(name, stack.providers):
        advice = did_you_mean(model, profile.models) or _listed(profile.models)
        _refuse(f"{flag} {name}", f"provider '{provider}' lists no model '{model}'", advice)
    return name


def _listed(words: Iterable[str]) -> str:
    return f"there are {', '.join(words)}"


def _refuse(place: str, message: str, advice: str) -> NoReturn:
    raise LmrouteError(f"{place}: {message}{f'; {advice}' if advice else ''}")


def _count(text: str) -> int:
    number = int(text.replace("_", "").replace(",", ""))
    if number < 0:
        raise ValueError
    return number


def _lot(text: str) -> int:
    number = int(text)
    if not 0 <= number < LOTS:
        raise ValueError
    return number


_count.__name__, _lot.__name__ = "number of tokens", "lot"  # as argparse calls them in its complaints
