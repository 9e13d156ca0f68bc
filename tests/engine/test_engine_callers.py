"""Who is calling: the names of signatures, modules and predictors in real DSPy programs, derived and optimised ones."""

import asyncio
import copy
import gc
import threading
import warnings
import weakref
from typing import Literal

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmroute.engine.request import lineage
from lmroute.engine.request.callers import module_name, predictor_name, signature_name
from lmroute.engine.request.lineage import name_of


class GenerateQuery(dspy.Signature):
    """Write a search query."""

    enquiry: str = dspy.InputField()
    context: list[str] = dspy.InputField(desc="what is known")
    query: str = dspy.OutputField()


class Polite(GenerateQuery):
    """Write a search query, politely."""


class Ranked(GenerateQuery):
    """Write a search query and rank it."""

    rank: str = dspy.OutputField()


class Answer(dspy.Signature):
    """Answer the enquiry."""

    enquiry: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Verdict(dspy.Signature):
    """Answer with yes or no."""

    enquiry: str = dspy.InputField()
    answer: Literal["yes", "no"] = dspy.OutputField()


class Loose(dspy.Signature):
    """Types left to DSPy."""

    loose = dspy.InputField()
    answer = dspy.OutputField()


class RAG(dspy.Module):
    def __init__(self):
        super().__init__()
        self.generate_query = dspy.ChainOfThought(Answer)
        self.check = dspy.Predict(Verdict)

    def forward(self, enquiry):
        self.generate_query(enquiry=enquiry)
        return self.check(enquiry=enquiry)

    async def aforward(self, enquiry):
        await self.generate_query.acall(enquiry=enquiry)
        return await self.check.acall(enquiry=enquiry)


class App(dspy.Module):
    def __init__(self):
        super().__init__()
        self.rag = RAG()

    def forward(self, enquiry):
        return self.rag(enquiry=enquiry)


RAG_CALLS = [("RAG", "Answer", "generate_query.predict"), ("RAG", "Verdict", "check")]
SAID = {"next_tool_name": "finish", "next_tool_args": "{}", "module_names": "[]", "advice": "{}"}


@pytest.fixture
def told(scripted_lm):
    """What each call of some code is known by: ``told(code) -> [(module, signature, predictor), ...]``.

    The model answers any signature.
    """

    def of(code, **said):
        seen = []

        def reply(request):
            callers = dspy.settings.caller_modules
            seen.append((module_name(callers), signature_name(callers), predictor_name(callers)))
            outputs = callers[-1].signature.output_fields
            texts = (f"[[ ## {name} ## ]]\n{({**SAID, **said}).get(name, 'yes')}\n" for name in outputs)
            return "\n".join([*texts, "[[ ## completed ## ]]"])

        with dspy.context(lm=scripted_lm(reply), adapter=dspy.ChatAdapter(), trace=[]):
            code()
        return seen

    return of


def signatures(calls):
    return [signature for _, signature, _ in calls]


def test_what_is_told_is_what_rules_read(scripted_lm):
    lm = scripted_lm("[[ ## reasoning ## ]]\nr\n\n[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]")
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        App()(enquiry="?")
    attributes = [line["attributes"] for line in lm.sink.lines if line["kind"] == "call"]
    assert [(a["module"], a["signature"]) for a in attributes] == [("RAG", "Answer"), ("RAG", "Verdict")]


# -- DSPy's modules


def test_a_plain_call_is_nobodys():
    assert (module_name(()), signature_name(()), predictor_name(())) == ("", "", "")


def test_a_predictor(told):
    assert told(lambda: dspy.Predict(Answer)(enquiry="?")) == [("Predict", "Answer", "self")]


def test_chain_of_thought(told):
    assert told(lambda: dspy.ChainOfThought(Answer)(enquiry="?")) == [("ChainOfThought", "Answer", "predict")]


def test_chain_of_thought_over_a_string_has_no_name(told):
    assert signatures(told(lambda: dspy.ChainOfThought("enquiry -> answer")(enquiry="?"))) == [""]


def test_react(told):
    calls = told(lambda: dspy.ReAct(Answer, tools=[])(enquiry="?"))
    assert calls == [("ReAct", "Answer", "react"), ("ReAct", "Answer", "extract.predict")]


def test_react_over_a_string_has_no_name(told):
    assert signatures(told(lambda: dspy.ReAct("enquiry -> answer", tools=[])(enquiry="?"))) == ["", ""]


def test_react_over_a_subclass_of_a_signature(told):
    """Its first step holds inputs only, the same in all three classes; its last one all fields."""
    for signature in (GenerateQuery, Polite, Ranked):
        calls = told(lambda: dspy.ReAct(signature, tools=[])(enquiry="?", context=[]))  # noqa: B023
        assert signatures(calls) == [signature.__name__] * 2


def test_an_agent_over_fields_of_two_signatures_has_no_name(told):
    mixed = dspy.Signature({**Answer.input_fields, **GenerateQuery.output_fields}, "Do both.")
    assert signatures(told(lambda: dspy.ReAct(mixed, tools=[])(enquiry="?"))) == ["", ""]


def test_what_a_tool_asks_is_not_what_the_agent_asks(told):
    ask = dspy.Predict("text -> words")

    def search():
        """Find it."""
        return ask(text="?").words

    agent = dspy.ReAct(Answer, tools=[search], max_iters=1)
    calls = told(lambda: agent(enquiry="?"), next_tool_name="search")
    assert calls == [("ReAct", "Answer", "react"), ("ReAct", "", ""), ("ReAct", "Answer", "extract.predict")]


class Agent(dspy.ReAct):
    """A user's agent: DSPy's steps and one of its own."""

    def __init__(self):
        super().__init__(Answer, tools=[])
        self.critic = dspy.Predict("answer -> verdict")

    def forward(self, **inputs):
        answer = super().forward(**inputs).answer
        return self.critic(answer=answer)


def test_a_users_agent_has_steps_of_dspys_and_its_own(told):
    assert told(lambda: Agent()(enquiry="?")) == [
        ("Agent", "Answer", "react"),
        ("Agent", "Answer", "extract.predict"),
        ("Agent", "", "critic"),
    ]


def test_a_users_signature_attribute_says_nothing_about_inner_predictors(told):
    class Mine(dspy.Module):
        def __init__(self):
            super().__init__()
            self.signature = Answer
            self.ask = dspy.Predict("text -> words")

        def forward(self):
            return self.ask(text="?")

    assert told(Mine()) == [("Mine", "", "ask")]


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: dspy.ReActV2(Ranked, tools=[]), ["react"]),
        (lambda: dspy.RLM(Ranked), ["generate_action", "extract"]),
        (lambda: dspy.ProgramOfThought(Ranked), ["code_generate", "code_regenerate", "generate_output"]),
        (lambda: dspy.CodeAct(Ranked, tools=[]), ["codeact", "extractor"]),
    ],
    ids=["ReActV2", "RLM", "ProgramOfThought", "CodeAct"],
)
def test_the_steps_of_other_agents(make, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = make()
    for name in steps:
        step = getattr(agent, name)
        callers = [agent, step] if isinstance(step, dspy.Predict) else [agent, step, step.predict]
        assert signature_name(callers) == "Ranked"
        assert predictor_name(callers) in dict(agent.named_predictors())


def test_multi_chain_comparison(told):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DSPy's own use of what it deprecated
        compare = dspy.MultiChainComparison(Answer, M=2)
    guesses = [dspy.Prediction(rationale="r", answer="a")] * 2
    assert told(lambda: compare(guesses, enquiry="?")) == [("MultiChainComparison", "Answer", "predict")]


@pytest.mark.parametrize("make", [dspy.BestOfN, dspy.Refine])
def test_copies_of_a_program_keep_their_names(told, make):
    rewards = iter([0.0, 1.0])
    best = make(module=App(), N=2, reward_fn=lambda inputs, outcome: next(rewards), threshold=1.0)
    calls = told(lambda: best(enquiry="?"))
    inner = [("RAG", "Answer", "module.rag.generate_query.predict"), ("RAG", "Verdict", "module.rag.check")]
    advice = [(make.__name__, "OfferFeedback", "")] if make is dspy.Refine else []
    assert calls == [*inner, *advice, *inner]
    assert {path for _, _, path in inner} == set(dict(best.named_predictors()))


def test_advice_is_no_copy_of_a_refined_predictor(told):
    rewards = iter([0.0, 1.0])
    best = dspy.Refine(dspy.Predict(Answer), N=2, reward_fn=lambda inputs, outcome: next(rewards), threshold=1.0)
    calls = told(lambda: best(enquiry="?"))
    assert [path for _, _, path in calls] == ["module", "", "module"]


# -- users' modules


@pytest.mark.parametrize("said", ["enquiry -> answer", 7, None])
def test_a_users_signature_attribute_may_be_anything(said):
    program = App()
    program.signature = said
    assert signature_name([program]) == ""


def test_nested_modules(told):
    calls = [("RAG", "Answer", "rag.generate_query.predict"), ("RAG", "Verdict", "rag.check")]
    assert told(lambda: App()(enquiry="?")) == calls
    assert [path for _, _, path in calls] == list(dict(App().named_predictors()))


def test_lists_dictionaries_and_modules_that_are_not_called(told):
    class Held(dspy.Module):
        def __init__(self):
            super().__init__()
            self.steps = [dspy.Predict(Answer), dspy.ChainOfThought(Answer)]
            self.by_kind = {"easy": dspy.ChainOfThought(Answer)}
            self.rag = RAG()

        def forward(self, enquiry):
            self.steps[0](enquiry=enquiry)
            self.steps[1](enquiry=enquiry)
            self.by_kind["easy"](enquiry=enquiry)
            self.rag.generate_query.predict(enquiry=enquiry)

    program = Held()
    paths = [path for _, _, path in told(lambda: program(enquiry="?"))]
    assert paths == list(dict(program.named_predictors()))[:-1]


def test_a_predictor_that_is_no_part_of_the_program_has_no_place(told):
    class Loner(dspy.Module):
        def forward(self, enquiry):
            return dspy.ChainOfThought(Answer)(enquiry=enquiry)

    assert told(lambda: Loner()(enquiry="?")) == [("Loner", "Answer", "")]


def test_only_what_dspy_copied_counts_as_a_copy():
    """The same class on the same signature, but made on the fly; and something else that ``BestOfN`` would call."""

    class Twice(dspy.Module):
        def __init__(self):
            super().__init__()
            self.ask = dspy.Predict(Answer)

    assert predictor_name([Twice(), dspy.Predict(Answer)]) == ""
    best, other = dspy.BestOfN(App(), N=1, reward_fn=good, threshold=1.0), dspy.ChainOfThought(Answer)
    assert predictor_name([best, other, other.predict]) == ""


def test_a_module_that_asks_the_model_itself_is_no_predictor():
    program = App()
    assert predictor_name([program, program.rag]) == predictor_name([program]) == ""


def test_modules_that_hold_each_other_have_an_end(told):
    program = App()
    program.rag.app = program
    assert [path for _, _, path in told(lambda: program(enquiry="?"))] == ["rag.generate_query.predict", "rag.check"]
    assert predictor_name([program, dspy.Predict(Answer)]) == ""


def test_a_frozen_module_keeps_its_place(told):
    program = App()
    program.rag._compiled = True
    assert program.named_predictors() == []
    assert [path for _, _, path in told(lambda: program(enquiry="?"))] == ["rag.generate_query.predict", "rag.check"]


def test_parallel_threads(told):
    program, threads = RAG(), set()
    forward = program.forward
    program.forward = lambda enquiry: (threads.add(threading.get_ident()), forward(enquiry))[1]
    calls = told(
        lambda: dspy.Parallel(num_threads=3, disable_progress_bar=True)([(program, {"enquiry": "?"})] * 6),
    )
    assert sorted(calls) == sorted(RAG_CALLS * 6)
    assert threading.get_ident() not in threads


def test_async(told):
    async def main():
        program = RAG()
        await asyncio.gather(*(program.acall(enquiry=str(i)) for i in range(3)))

    assert sorted(told(lambda: asyncio.run(main()))) == sorted(RAG_CALLS * 3)


# -- derived signatures


def field(kind):
    return dspy.InputField() if kind == "input" else dspy.OutputField()


DERIVATIONS = {
    "with_instructions": lambda s: s.with_instructions("Better."),
    "append_instructions": lambda s: s.append_instructions("Much better."),
    "append": lambda s: s.append("hint", field("input")),
    "prepend": lambda s: s.prepend("reasoning", field("output"), str),
    "insert": lambda s: s.insert(1, "more", field("output"), int),
    "delete": lambda s: s.append("gone", field("input")).delete("gone"),
}


@given(st.sampled_from([GenerateQuery, Ranked, Answer, Verdict, Loose]), st.lists(st.sampled_from([*DERIVATIONS])))
@settings(max_examples=60, deadline=None)
def test_however_it_is_derived_it_has_its_name(signature, steps):
    """Whole signatures that no other has all fields of but with fields of its own."""
    derived = signature
    for step in dict.fromkeys(steps):
        derived = DERIVATIONS[step](derived)
    ambiguous = signature is GenerateQuery and derived.instructions != signature.instructions
    assert name_of(derived) == ("" if ambiguous else signature.__name__)


@given(st.sampled_from(["enquiry: str -> answer: str", "enquiry -> answer", "loose -> answer"]), st.data())
@settings(max_examples=30, deadline=None)
def test_a_string_signature_never_gets_a_name(text, data):
    """Not even one whose fields and instructions are those of a class."""
    instructions = data.draw(st.sampled_from([None, "Answer the enquiry.", "Types left to DSPy.", "Other."]))
    derived = dspy.Signature(text, instructions)
    for step in data.draw(st.lists(st.sampled_from([*DERIVATIONS]), unique=True)):
        derived = DERIVATIONS[step](derived)
    assert name_of(derived) == name_of(derived.load_state(derived.dump_state())) == ""


def test_a_field_less_is_known_by_its_instructions():
    assert name_of(GenerateQuery.delete("context")) == "GenerateQuery"
    assert name_of(Ranked.delete("rank")) == "Ranked"
    assert name_of(Verdict.delete("enquiry").with_instructions("Guess.")) == ""


def test_two_signatures_with_the_same_fields_are_told_apart_by_instructions_or_not_at_all():
    assert name_of(Polite.append("hint", dspy.InputField())) == "Polite"
    assert name_of(GenerateQuery.append("hint", dspy.InputField())) == "GenerateQuery"
    assert name_of(Polite.with_instructions("Better.")) == ""


def test_a_subclass_that_says_nothing_new_but_a_field_is_known_by_it():
    quiet = type(Verdict)("Quiet", (Verdict,), {"more": dspy.OutputField(), "__annotations__": {"more": str}})
    assert quiet.instructions == Verdict.instructions
    assert name_of(Verdict.prepend("reasoning", dspy.OutputField())) == "Verdict"
    assert name_of(quiet.prepend("reasoning", dspy.OutputField())) == "Quiet"
    del quiet
    gc.collect()


def test_without_inputs_a_string_is_not_taken_for_a_class():
    muse = type(dspy.Signature)(
        "Muse", (dspy.Signature,), {"idea": dspy.OutputField(), "__annotations__": {"idea": str}}
    )
    assert name_of(muse.with_instructions("Better.")) == "Muse"
    assert name_of(dspy.Signature("-> idea")) == ""


def test_fields_of_two_signatures_have_no_name():
    mixed = {**Answer.fields, **GenerateQuery.output_fields}
    assert name_of(dspy.Signature(mixed, "Do both.")) == ""
    assert name_of(dspy.Signature(mixed, Answer.instructions)) == ""


def test_a_class_over_a_string_does_not_name_the_string():
    base = dspy.Signature("colour -> shade", "Shade it.")
    named = type(base)("Shade", (base,), {"__doc__": "Shade it well.", "__annotations__": {}})
    assert name_of(base) == name_of(base.append("hint", dspy.InputField())) == ""
    assert name_of(named.append("hint", dspy.InputField())) == "Shade"
    assert name_of(named.with_instructions("Better.")) == ""


def test_a_class_defined_later_changes_no_name():
    class Early(dspy.Signature):
        """Early."""

        early: str = dspy.InputField()
        late: str = dspy.OutputField()

    derived = Early.with_instructions("Better.")
    assert name_of(derived) == "Early"
    later = type(Early)("Later", (Early,), {"__doc__": "Later."})
    assert name_of(derived) == "Early"
    assert name_of(later.with_instructions("Better.")) == ""


def test_nothing_is_kept_alive():
    derived = Answer.with_instructions("Better.")
    assert name_of(derived) == "Answer"
    assert derived in lineage._found
    gone = weakref.ref(derived)
    del derived
    gc.collect()
    assert gone() is None


# -- copies, saved and optimised programs


def optimised(program, instructions="Better."):
    """What MIPROv2, GEPA and SIMBA do to a program."""
    for predictor in program.predictors():
        predictor.signature = predictor.signature.with_instructions(instructions)
    return program


@pytest.mark.parametrize("copied", [copy.deepcopy, dspy.Module.deepcopy, dspy.Module.reset_copy])
def test_copies(told, copied):
    assert told(lambda: copied(RAG())(enquiry="?")) == RAG_CALLS
    assert told(lambda: copied(optimised(RAG()))(enquiry="?")) == RAG_CALLS


@pytest.mark.parametrize("changed", [lambda program: program, optimised], ids=["as it is", "optimised"])
def test_saved_and_loaded(told, tmp_path, changed):
    path = tmp_path / "program.json"
    changed(RAG()).save(path)
    loaded = RAG()
    loaded.load(path)
    assert loaded.check.signature is not Verdict
    assert told(lambda: loaded(enquiry="?")) == RAG_CALLS


def test_an_agent_saved_and_loaded(told, tmp_path):
    path = tmp_path / "agent.json"
    optimised(dspy.ReAct(Ranked, tools=[])).save(path)
    loaded = dspy.ReAct(Ranked, tools=[])
    loaded.load(path)
    assert signatures(told(lambda: loaded(enquiry="?", context=[]))) == ["Ranked"] * 2


def loaded(signature):
    state = signature.dump_state()
    fields = [{key: "".join([*text]) for key, text in each.items()} for each in state["fields"]]
    return signature.load_state({"instructions": "".join([*state["instructions"]]), "fields": fields})


def test_what_was_loaded_is_told_by_all_its_fields_or_not_at_all():
    assert name_of(loaded(Ranked.with_instructions("Better."))) == "Ranked"
    assert name_of(loaded(Ranked.append("surprise", dspy.OutputField()))) == ""
    assert name_of(loaded(Ranked.delete("rank"))) == ""
    assert name_of(loaded(Polite)) == "Polite"
    assert name_of(loaded(Polite.with_instructions("Better."))) == ""
    assert name_of(Ranked.with_updated_fields("rank", prefix="The rank:")) == "Ranked"
    assert name_of(Ranked.with_updated_fields("rank", type_=int)) == ""
    assert name_of(Ranked.with_updated_fields("rank", desc="another")) == ""


EXAMPLES = [dspy.Example(enquiry=str(i), answer="yes").with_inputs("enquiry") for i in range(3)]


def good(example, prediction, trace=None):
    return prediction.answer == "yes"


def test_bootstrapped(told):
    optimiser = dspy.BootstrapFewShot(good, max_bootstrapped_demos=1, max_labeled_demos=1)
    programs = []
    calls = told(lambda: programs.append(optimiser.compile(RAG(), trainset=EXAMPLES)))
    assert set(calls) == set(RAG_CALLS)
    assert programs[0].check.demos
    assert told(lambda: programs[0](enquiry="?")) == RAG_CALLS


def test_copro(told):
    optimiser = dspy.COPRO(prompt_model=None, metric=good, breadth=2, depth=1)
    options = {"num_threads": 1, "display_progress": False, "display_table": 0}
    programs = []
    said = {"proposed_instruction": "Be brief.", "proposed_prefix_for_output_field": "It is:"}
    calls = told(
        lambda: programs.append(optimiser.compile(RAG(), trainset=EXAMPLES, eval_kwargs=options)),
        **said,
    )
    assert {call for call in calls if call[0] == "RAG"} == set(RAG_CALLS)
    assert {call[1] for call in calls if call[0] != "RAG"} == {"BasicGenerateInstruction"}
    assert told(lambda: programs[0](enquiry="?")) == RAG_CALLS
