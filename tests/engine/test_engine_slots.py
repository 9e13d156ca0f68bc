"""Slots: never too many at once, first come first served, and none is ever lost, whoever gives up and when."""

import asyncio
import gc
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmroute.engine.live.learnt import Learnt
from lmroute.engine.live.slots import NoSlotError, Slots, _Gate
from lmroute.engine.live.turns import Turn
from lmroute.model import Timeouts

WEIGHTS = st.integers(0, 6)


class Held:
    """A slot from ``with`` or ``async with`` to its end, waited for as a call waits for its turn."""

    def __init__(self, slots, key, limit, deadline=None, *, learnt=None, tokens=0):
        profile = SimpleNamespace(concurrency=limit, type="openai", endpoint=None, timeouts=Timeouts())
        self.turn = Turn(slots, learnt or Learnt(), key, profile, tokens)
        self.deadline = time.monotonic() + 3600 if deadline is None else deadline

    def __enter__(self):
        try:
            for pause in self.turn.waits(self.deadline):
                pause.block()
        except BaseException:
            self.turn.end()
            raise

    async def __aenter__(self):
        try:
            for pause in self.turn.waits(self.deadline):
                await pause.passed()
        except BaseException:
            self.turn.end()
            raise

    def __exit__(self, *_):
        self.turn.end()

    async def __aexit__(self, *_):
        self.turn.end()


class Crowd:
    """Counts who is inside, and the most there ever were."""

    def __init__(self):
        self.inside = self.most = self.served = 0
        self._lock = threading.Lock()

    def __enter__(self):
        with self._lock:
            self.inside += 1
            self.served += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_):
        with self._lock:
            self.inside -= 1


def is_free(slots, key, limit):
    """Whether all of a key's slots can be had, and no more."""
    futures = [slots.take(key, limit) for _ in range(limit + 1)]
    granted = [future.done() for future in futures]
    for future in reversed(futures):
        slots.leave(key, future)
    return granted == [True] * limit + [False] and slots.load(key) == 0


def test_first_come_first_served():
    slots = Slots()
    futures = [slots.take("a", 2) for _ in range(5)]
    assert [f.done() for f in futures] == [True, True, False, False, False]
    slots.leave("a", futures[1])
    assert [f.done() for f in futures] == [True, True, True, False, False]
    slots.leave("a", futures[0])
    assert [f.done() for f in futures[3:]] == [True, False]
    assert slots.load("a") == 2


def test_nobody_overtakes_who_waits():
    slots = Slots()
    first, second = slots.take("a", 1), slots.take("a", 1)
    third = slots.take("a", 2)  # the limit was raised, and the room goes to the second
    assert second.done()
    assert not third.done()
    slots.leave("a", first)
    assert third.done()


def test_keys_are_apart_and_no_limit_only_counts():
    slots = Slots()
    assert slots.load("a") == 0
    futures = [slots.take("a", None) for _ in range(100)]
    assert all(f.done() for f in futures)
    assert slots.load("a") == 100
    assert slots.take("b", 1).done()
    for future in futures:
        slots.leave("a", future)
    assert slots.load("a") == 0


def test_a_lowered_limit_holds_for_whoever_comes_next():
    slots = Slots()
    held = [slots.take("a", 3) for _ in range(3)]
    waiter = slots.take("a", 1)
    slots.leave("a", held[0])
    slots.leave("a", held[1])
    assert not waiter.done()
    slots.leave("a", held[2])
    assert waiter.done()


def test_one_who_gives_up_does_not_block_those_behind():
    slots = Slots()
    first, second, third = (slots.take("a", 1) for _ in range(3))
    slots.leave("a", second)
    assert not third.done()
    slots.leave("a", first)
    assert third.done()


def test_one_who_was_granted_a_slot_as_it_gave_up_passes_it_on():
    slots = Slots()
    first, second, third = (slots.take("a", 1) for _ in range(3))
    slots.leave("a", first)
    assert second.done()  # and now its owner has stopped waiting, without having seen that
    slots.leave("a", second)
    assert third.done()
    slots.leave("a", third)
    assert is_free(slots, "a", 1)


def test_a_future_that_was_cancelled_by_others_is_passed_over():
    slots = Slots()
    first, second, third = (slots.take("a", 1) for _ in range(3))
    second.cancel()  # as asyncio does with what it wraps
    slots.leave("a", first)
    assert third.done()
    slots.leave("a", second)
    slots.leave("a", third)
    assert is_free(slots, "a", 1)


def test_a_storm_of_cancellations_leaves_no_trace():
    slots = Slots()
    first = slots.take("a", 1)
    for _ in range(10_000):
        slots.leave("a", slots.take("a", 1))
    assert not slots._gates["a"].waiting
    slots.leave("a", first)
    assert is_free(slots, "a", 1)


def test_a_thread_that_waits_in_vain():
    slots = Slots()
    in_vain = pytest.raises(NoSlotError, match=r"a/m was busy until the deadline \(at most 1 at once\)")
    with Held(slots, "a/m", 1), in_vain, Held(slots, "a/m", 1, time.monotonic() - 5):
        pytest.fail("there was no room")
    assert is_free(slots, "a/m", 1)


def test_a_task_that_waits_in_vain():
    slots = Slots()

    async def main():
        async with Held(slots, "a/m", 1):
            with pytest.raises(TimeoutError, match="a/m was busy until the deadline"):
                async with Held(slots, "a/m", 1, time.monotonic() + 0.01):
                    pytest.fail("there was no room")

    asyncio.run(main())
    assert is_free(slots, "a/m", 1)


def test_a_deadline_that_has_passed_does_not_matter_where_there_is_room():
    slots = Slots()

    async def main():
        async with Held(slots, "a", 1, time.monotonic() - 5):
            return slots.load("a")

    with Held(slots, "a", 1, time.monotonic() - 5):
        assert slots.load("a") == 1
    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, TimeoutError])
def test_whatever_goes_wrong_inside_goes_through_and_the_slot_is_free(kind):
    slots = Slots()

    async def main():
        async with Held(slots, "a", 1):
            raise error

    error = kind("from inside")
    with pytest.raises(kind) as raised, Held(slots, "a", 1):
        raise error
    assert raised.value is error
    if kind is not KeyboardInterrupt:  # which asyncio.run makes its own of
        with pytest.raises(kind) as raised:
            asyncio.run(main())
        assert raised.value is error
    assert is_free(slots, "a", 1)


def test_an_interrupted_thread_gives_up_its_place(monkeypatch):
    slots = Slots()
    first = slots.take("a", 1)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    waiting = slots.take
    with monkeypatch.context() as patch:
        patch.setattr("lmroute.engine.live.pauses.wait", interrupted)
        with pytest.raises(KeyboardInterrupt), Held(slots, "a", 1):
            pytest.fail("there was no room")
    behind = waiting("a", 1)
    slots.leave("a", first)
    assert behind.done()


def test_a_cancelled_task_gives_up_its_place_and_stays_cancelled():
    slots = Slots()

    async def wait():
        async with Held(slots, "a", 1):
            pytest.fail("there was no room")

    async def main():
        async with Held(slots, "a", 1):
            tasks = [asyncio.create_task(wait()) for _ in range(50)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in done)

    asyncio.run(main())
    assert is_free(slots, "a", 1)


@pytest.mark.parametrize("steps", range(4))
def test_a_task_that_is_cancelled_together_with_its_grant_is_cancelled_and_passes_it_on(steps):
    slots = Slots()
    served = []

    async def work(who):
        async with Held(slots, "a", 1, time.monotonic() + 60):
            served.append(who)

    async def main():
        first = slots.take("a", 1)
        unlucky, behind = asyncio.create_task(work("unlucky")), asyncio.create_task(work("behind"))
        await asyncio.sleep(0)
        slots.leave("a", first)
        for _ in range(steps):  # granted, but so far the task may not have run since
            await asyncio.sleep(0)
        was_served = "unlucky" in served
        unlucky.cancel()
        ends = await asyncio.gather(unlucky, behind, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError) or was_served
        assert served == (["unlucky", "behind"] if was_served else ["behind"])

    asyncio.run(main())
    assert is_free(slots, "a", 1)


def test_threads_that_leave_together_let_in_no_more_than_there_is_room_for(monkeypatch):
    slots, start, real = Slots(), threading.Barrier(2), _Gate.has_room
    inside = [slots.take("a", 2) for _ in range(2)]
    waiting = [slots.take("a", 1) for _ in range(3)]

    def slowly(gate, weight):
        time.sleep(0.02)  # so that the other one comes along meanwhile
        has_room = real(gate, weight)
        time.sleep(0.02)
        return has_room

    def leave(future):
        start.wait()
        slots.leave("a", future)

    monkeypatch.setattr(_Gate, "has_room", slowly)
    threads = [threading.Thread(target=leave, args=(future,)) for future in inside]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [future.done() for future in waiting] == [True, False, False]
    assert slots.load("a") == 1


def test_a_task_whose_loop_is_gone_holds_nothing(caplog):
    """A loop that is closed over its tasks' heads; what they hold is free once they are garbage."""
    # concurrent.futures logs that there is no loop to tell, and what pytest keeps of that keeps the task alive.
    caplog.set_level(logging.CRITICAL + 1, "concurrent.futures")
    slots = Slots()
    first = slots.take("a", 1)

    async def work():
        async with Held(slots, "a", 1):
            pass

    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    slots.leave("a", first)
    del task, loop
    gc.collect()
    assert is_free(slots, "a", 1)


def test_threads_and_tasks_share_a_limit():
    slots, crowd, limit = Slots(), Crowd(), 3

    def in_thread():
        for _ in range(20):
            with Held(slots, "a", limit), crowd:
                time.sleep(0)

    async def in_task():
        for _ in range(20):
            async with Held(slots, "a", limit):
                with crowd:
                    await asyncio.sleep(0)

    async def in_tasks():
        await asyncio.gather(*(in_task() for _ in range(8)))

    with ThreadPoolExecutor(10) as pool:
        jobs = [pool.submit(in_thread) for _ in range(8)] + [pool.submit(asyncio.run, in_tasks()) for _ in range(2)]
        for job in jobs:
            job.result(60)
    assert crowd.served == 8 * 20 + 2 * 8 * 20
    assert crowd.most <= limit
    assert crowd.inside == 0
    assert is_free(slots, "a", limit)


def test_no_slot_is_lost_in_a_storm_of_cancellations_and_timeouts():
    """Threads that time out and tasks that are cancelled at any moment, while others come and go."""
    slots, crowd, limit = Slots(), Crowd(), 2

    def in_thread(seed):
        chance = random.Random(seed)
        for _ in range(60):
            try:
                with Held(slots, "a", limit, time.monotonic() + chance.choice([0, 0.0001, 0.001, 5])), crowd:
                    time.sleep(chance.choice([0, 0.0002]))
            except NoSlotError:
                pass

    async def in_task(chance):
        async with Held(slots, "a", limit, time.monotonic() + chance.choice([0, 0.0001, 0.001, 5])):
            with crowd:
                await asyncio.sleep(chance.choice([0, 0.0002]))

    async def storm(seed):
        chance = random.Random(seed)
        for _ in range(15):
            tasks = [asyncio.create_task(in_task(chance)) for _ in range(12)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for task in chance.sample(tasks, 6):
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, NoSlotError | asyncio.CancelledError | None) for end in ends), ends

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(in_thread, seed) for seed in range(5)]
        jobs += [pool.submit(lambda seed: asyncio.run(storm(seed)), seed) for seed in range(3)]
        for job in jobs:
            job.result(60)
    assert crowd.most <= limit
    assert crowd.inside == 0
    assert not slots._gates["a"].waiting
    assert is_free(slots, "a", limit)


def test_what_is_too_heavy_for_the_rest_waits_and_is_let_in_alone_if_need_be():
    slots = Slots()
    first, second = slots.take("a", 4, 60, 100), slots.take("a", 4, 40, 100)
    third, heavy, light = slots.take("a", 4, 1, 100), slots.take("a", 4, 1000, 100), slots.take("a", 4, 1, 100)
    assert [f.done() for f in (first, second, third, heavy, light)] == [True, True, False, False, False]
    slots.leave("a", second, 40)
    assert third.done()
    assert not light.done()  # there is room, but the heavy one is first
    slots.leave("a", first, 60)
    assert not heavy.done()
    slots.leave("a", third, 1)
    assert heavy.done()
    assert not light.done()
    slots.leave("a", heavy, 1000)
    assert light.done()
    slots.leave("a", light, 1)
    assert is_free(slots, "a", 2)


def test_who_becomes_lighter_makes_room_and_stays():
    slots = Slots()
    whole = slots.take("a", None, 10, 10)
    shares = [slots.take("a", None, 1, 10) for _ in range(2)]
    assert not any(f.done() for f in shares)
    slots.lighten("a", 9)
    assert all(f.done() for f in shares)
    assert slots.load("a") == 3
    next_ = slots.take("a", None, 10, 10)
    for future in (whole, *shares):
        assert not next_.done()
        slots.leave("a", future, 1)
    assert next_.done()


def test_a_heavy_one_whose_task_was_cancelled_blocks_nobody():
    slots = Slots()
    first, heavy, light = slots.take("a", None, 5, 10), slots.take("a", None, 9, 10), slots.take("a", None, 5, 10)
    heavy.cancel()
    slots.lighten("a", 0)
    assert light.done()
    slots.leave("a", heavy, 9)
    slots.leave("a", first, 5)
    slots.leave("a", light, 5)
    assert is_free(slots, "a", 1)


def test_who_leaves_while_others_are_let_in_leaves_after_it():
    """As when a stream that nobody holds any more is garbage-collected in the middle of it, in the same thread."""
    slots = Slots()
    garbage, first = slots.take("a", 2), slots.take("a", 2)
    collected = []

    def weigh():
        if not collected and first_left:
            collected.append(slots.leave("a", garbage))
        return 0

    first_left = False
    waiting = [slots.take("a", 2, weigh) for _ in range(3)]
    first_left = True
    slots.leave("a", first)
    assert collected
    assert [f.done() for f in waiting] == [True, True, False]
    assert slots.load("a") == 2
    slots.leave("a", waiting[0])
    assert waiting[2].done()


@pytest.mark.parametrize("change", ["leave", "lighten"])
def test_who_leaves_while_a_weight_is_asked_for_is_counted(change):
    slots = Slots()
    garbage, first = slots.take("a", None, 30, 100), slots.take("a", None, 40, 100)

    def weigh():
        slots.leave("a", garbage, 30)
        return 40

    if change == "leave":
        slots.leave("a", first, weigh)
    else:
        slots.lighten("a", weigh)
        slots.leave("a", first)
    gate = slots._gates["a"]
    assert (gate.in_flight, gate.weight) == (0, 0)


class Scales:
    """Notes how many were inside together, and how heavy they were."""

    def __init__(self):
        self._inside, self.seen, self._lock = [], [], threading.Lock()

    @contextmanager
    def on(self, weight):
        with self._lock:
            self._inside.append(weight)
            self.seen.append(tuple(self._inside))
        try:
            yield
        finally:
            with self._lock:
                self._inside.remove(weight)


def test_a_storm_of_weights_is_never_too_heavy_and_starves_nobody():
    """Threads and tasks of all weights share one window, and some of them give up."""
    slots, scales, in_vain, learnt = Slots(), Scales(), [], Learnt({"a": 10}, {"a": 4})

    def in_thread(seed):
        chance = random.Random(seed)
        for _ in range(60):
            weight, until = chance.choice([0, 1, 3, 7, 10, 25]), time.monotonic() + chance.choice([0.0005, 30, 30])
            try:
                with Held(slots, "a", None, until, learnt=learnt, tokens=weight), scales.on(weight):
                    time.sleep(chance.choice([0, 0.0002]))
            except NoSlotError:
                in_vain.append(weight)

    async def in_task(chance):
        weight = chance.choice([1, 3, 12])
        try:
            async with (
                asyncio.timeout(chance.choice([0.001, 30])),
                Held(slots, "a", None, learnt=learnt, tokens=weight),
            ):
                with scales.on(weight):
                    await asyncio.sleep(0)
        except TimeoutError:
            in_vain.append(weight)

    async def in_tasks(seed):
        chance = random.Random(seed)
        for _ in range(10):
            await asyncio.gather(*(in_task(chance) for _ in range(12)))

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(in_thread, seed) for seed in range(6)]
        jobs += [pool.submit(lambda seed: asyncio.run(in_tasks(seed)), seed) for seed in (7, 8)]
        for job in jobs:
            job.result(60)
    assert len(scales.seen) + len(in_vain) == 6 * 60 + 2 * 10 * 12
    assert {25, 12} <= {weight for inside in scales.seen for weight in inside}
    assert all(len(inside) <= 4 and (sum(inside) <= 10 or len(inside) == 1) for inside in scales.seen)
    gate = slots._gates["a"]
    assert (gate.in_flight, gate.weight, len(gate.waiting)) == (0, 0, 0)


class Queue(RuleBasedStateMachine):
    """Against the plainest queue there is: a list of who is in and a list of who waits."""

    def __init__(self):
        super().__init__()
        self.slots = Slots()
        self.limit, self.capacity = 2, None
        self.inside, self.waiting = [], []

    def has_room(self, weight):
        if self.limit is not None and len(self.inside) >= self.limit:
            return False
        return self.capacity is None or not self.inside or sum(c.weight for c in self.inside) + weight <= self.capacity

    def admit(self):
        while self.waiting and self.has_room(self.waiting[0].weight):
            self.inside.append(self.waiting.pop(0))

    @rule(limit=st.sampled_from([1, 2, 2, 2, 3, None]), capacity=st.sampled_from([None, 4, 4, 4]), weight=WEIGHTS)
    def take(self, limit, capacity, weight):
        self.limit, self.capacity = limit, capacity
        call = SimpleNamespace(weight=weight)
        call.future = self.slots.take("key", limit, lambda: call.weight, capacity)
        self.waiting.append(call)
        self.admit()

    @precondition(lambda self: self.inside or self.waiting)
    @rule(data=st.data())
    def leave(self, data):
        call = data.draw(st.sampled_from([*self.inside, *self.waiting]))
        (self.inside if call in self.inside else self.waiting).remove(call)
        self.slots.leave("key", call.future, lambda: call.weight)
        self.admit()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def lighten(self, data):
        call = data.draw(st.sampled_from(self.inside))
        by = data.draw(st.integers(0, call.weight))
        call.weight -= by
        self.slots.lighten("key", by)
        self.admit()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), weight=WEIGHTS)
    def weigh_otherwise(self, data, weight):
        """Noticed when somebody leaves, as it is for a host's models: whoever changes them leaves, or lightens."""
        data.draw(st.sampled_from(self.waiting)).weight = weight
        self.slots.lighten("key", 0)
        self.admit()

    @invariant()
    def who_is_in_is_in_and_who_waits_waits(self):
        assert all(call.future.done() for call in self.inside)
        assert not any(call.future.done() for call in self.waiting)
        assert self.slots.load("key") == len(self.inside)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60)
