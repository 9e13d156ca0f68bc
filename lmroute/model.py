"""The words of the field as frozen data: what a configuration decodes to and what a decision is made of.

Nothing here does I/O or imports a third party. Times are seconds, prices are US dollars per million tokens, windows
are tokens. ``None`` always means "not stated", never zero.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NoReturn, TypeAlias

AUTO = "auto"
"""The model name that means: whatever the server has loaded (or lists first)."""


class Locality(StrEnum):
    """How far from this process a provider's server is."""

    EMBEDDED = "embedded"
    """In this process tree."""
    LOOPBACK = "loopback"
    """On this machine."""
    PRIVATE = "private"
    """On this network."""
    CLOUD = "cloud"
    """Anywhere else."""


class Privacy(StrEnum):
    """What a request says about its data."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PRIVATE = "private"


class JsonMode(StrEnum):
    """What a server does for structured output, best first."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


class SecretSource(StrEnum):
    """Where a secret is kept."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret, never the secret.

    Attributes:
        source: where to look.
        names: environment variables in order of preference, one file path, one argv, or one keyring account.
        optional: when true, an absent secret means "send no token" instead of an error.
    """

    source: SecretSource
    names: tuple[str, ...]
    optional: bool = False

    def __str__(self) -> str:
        joined = " ".join(self.names) if self.source is SecretSource.COMMAND else " or ".join(self.names)
        return f"{self.source.value} {joined}"


class Secret:
    """A resolved secret. It shows itself as ``***`` everywhere; only ``reveal()`` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, to be called where a header is built and nowhere else."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; pickle its SecretRef")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The only clocks that decide anything about a call, in seconds.

    Attributes:
        connect_s: until the connection stands.
        first_token_s: until a stream's first byte.
        idle_s: between two bytes of a stream.
        total_s: one attempt, whatever it does.
        load_s: getting a cold model ready (embedded start, LM Studio load), on top of the others.
    """

    connect_s: float = 2.0
    first_token_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 120.0
    load_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's models can do, as the profile states it."""

    tools: bool = False
    vision: bool = False
    reasoning: bool = False
    json_mode: JsonMode = JsonMode.NONE


@dataclass(frozen=True, slots=True)
class Cost:
    """Price in US dollars per million tokens. Local models cost 0."""

    input_per_mtok: float = 0.0
    output_per_mtok: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider profile: one server or service and what is known about it.

    Attributes:
        id: the name it goes by in policies, its key under ``providers``.
        type: the kind of server, a row of ``lmroute.providers.catalog``.
        endpoint: base URL, with or without ``/v1``; ``None`` for ``embedded`` and for services whose address is fixed.
        models: model names to offer, in order; ``auto`` asks the server.
        context_window: tokens of prompt and answer together, where it is known beforehand.
        params: sampler settings sent with every request (``temperature``, ``top_k``, ``min_p`` ...).
        on_substitution: what to do when the server answers with another model than the one asked for.
        model_path: a local GGUF file (``embedded`` only); ``None`` means the default weights.
    """

    id: str
    type: str
    endpoint: str | None = None
    models: tuple[str, ...] = (AUTO,)
    enabled: bool = True
    auth_token: SecretRef | None = None
    locality: Locality = Locality.CLOUD
    tags: frozenset[str] = frozenset()
    cost: Cost | None = None
    capabilities: Capabilities = Capabilities()
    context_window: int | None = None
    timeouts: Timeouts = Timeouts()
    params: tuple[tuple[str, Any], ...] = ()
    on_substitution: Literal["error", "warn"] = "error"
    model_path: str | None = None


class Operator(StrEnum):
    """The closed set of predicate operators."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    CONTAINS_ALL = "contains_all"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison: ``attribute operator operand``. Lists in the operand are tuples."""

    __test__ = False  # pytest would otherwise take the name for a test class

    attribute: str
    operator: Operator
    operand: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every part is; ``AllOf(())`` is true."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when some part is; ``AnyOf(())`` is false."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True when its part is not."""

    part: Predicate


Predicate: TypeAlias = Test | AllOf | AnyOf | Not
ALWAYS = AllOf(())


class Order(StrEnum):
    """How a selector sorts what it selects."""

    DECLARED = "declared"
    """As the providers are listed on the command line or in config.yaml."""
    COST = "cost"
    """Cheapest first; unknown prices last; ties as declared."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Candidates by trait. An empty set asks nothing; several sets must all agree.

    Attributes:
        tags: the provider must carry at least one of them.
    """

    locality: frozenset[Locality] = frozenset()
    types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    order: Order = Order.DECLARED

    def matches(self, profile: Profile) -> bool:
        """Whether a provider has the traits that are asked for."""
        return (
            (not self.locality or profile.locality in self.locality)
            and (not self.types or profile.type in self.types)
            and (not self.tags or not self.tags.isdisjoint(profile.tags))
        )


@dataclass(frozen=True, slots=True)
class Named:
    """A candidate by name: a provider id, or ``provider/model``."""

    provider: str
    model: str | None = None


Use: TypeAlias = Named | Selector


class Failure(StrEnum):
    """Error classes of an attempt, the vocabulary of ``fallback_on`` and of ``errorCode``."""

    TRANSPORT = "transport"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    BAD_REPLY = "bad_reply"
    AUTH = "auth"
    BILLING = "billing"
    NOT_CONFIGURED = "not_configured"
    UNSUPPORTED_MODEL = "unsupported_model"
    UNSUPPORTED_FEATURE = "unsupported_feature"
    CONTEXT_LENGTH = "context_length"
    INVALID_REQUEST = "invalid_request"
    MODEL_SUBSTITUTED = "model_substituted"
    UNAVAILABLE = "unavailable"
    """The provider could not be made ready (embedded weights, a model that would not load)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a policy: the first one whose ``when`` holds decides.

    Attributes:
        priority: lower numbers are asked first; equal ones in the order of the file.
        fallback_on: failures after which the next candidate is tried; ``None`` means the verdict table's own.
    """

    name: str
    use: tuple[Use, ...]
    when: Predicate = ALWAYS
    priority: int = 100
    fallback_on: frozenset[Failure] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A routing policy. ``deadline_s`` bounds one logical call over all its attempts."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    deadline_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Attributes:
    """The facts about one request that a predicate may read.

    ``task``, ``module`` and ``signature`` are empty strings when unknown. ``prompt_tokens`` is an estimate
    (``lmroute.engine.attributes`` says how); ``max_output_tokens`` is 0 when the request leaves it open.
    """

    task: str = ""
    module: str = ""
    signature: str = ""
    tags: frozenset[str] = frozenset()
    privacy: Privacy = Privacy.INTERNAL
    needs_tools: bool = False
    needs_response_schema: bool = False
    needs_vision: bool = False
    needs_reasoning: bool = False
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One (provider, model) that a rule allows. ``model`` may be ``auto``."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Considered:
    """A candidate and what became of it: kept (``dropped`` empty) or dropped for a reason."""

    candidate: Candidate
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the router chose and why. ``rule`` is empty when no rule matched."""

    rule: str
    considered: tuple[Considered, ...]
    fallback_on: frozenset[Failure] | None = None
    candidates: tuple[Candidate, ...] = field(init=False)

    def __post_init__(self) -> None:
        kept = tuple(c.candidate for c in self.considered if not c.dropped)
        object.__setattr__(self, "candidates", kept)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one candidate, as it ended.

    Attributes:
        answered: the model that answered, as the server names it; empty when none did.
        failure: ``None`` when it succeeded.
        message: the error in one redacted line; empty when it succeeded.
        duration_ms: from the first byte sent to the last byte read, or to the failure.
        degraded: what was asked of this candidate differently than the caller asked, in words.
    """

    candidate: Candidate
    duration_ms: float
    answered: str = ""
    failure: Failure | None = None
    message: str = ""
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What ``run.py`` is to do.

    Attributes:
        name: a task of ``lmroute.experiments.tasks``.
        data: CSV file, or ``None`` for a task that needs none (``ask``).
        limit: at most so many rows; ``None`` means all.
        question: the question of ``ask``.
        threads: calls at once.
        max_tokens: answer length bound.
        privacy, tags: request attributes of every call.
    """

    name: str
    data: str | None = None
    limit: int | None = None
    question: str | None = None
    threads: int = 1
    max_tokens: int = 128
    privacy: Privacy = Privacy.INTERNAL
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole validated configuration.

    Attributes:
        providers: selected profiles by id, in the order they were selected.
        seed: of everything random in an experiment: which rows are taken, and what servers are sent.
        document: the composed configuration this was decoded from, JSON-able, free of secrets.
    """

    providers: dict[str, Profile]
    policy: Policy
    task: TaskSpec
    adapter: str = "auto"
    seed: int = 0
    document: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
