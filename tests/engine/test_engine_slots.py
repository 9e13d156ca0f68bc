"""Slots: never too many at once, first come first served, and none is ever lost, whoever gives up and when."""

import asyncio
import gc
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmroute.engine.live.slots import NoSlotError, Slots, _Gate
from lmroute.engine.live.switches import REMEMBERED_S, Switches
from lmroute.engine.live.turns import Turn


class Held:
    """A slot from ``with`` or ``async with`` to its end, waited for as a call waits for its turn."""

    def __init__(self, slots, key, limit, deadline=None):
        self.turn = Turn(slots, Switches(), key, SimpleNamespace(concurrency=limit, type="openai", endpoint=None))
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

    def slowly(gate):
        time.sleep(0.02)  # so that the other one comes along meanwhile
        has_room = real(gate)
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


class Queue(RuleBasedStateMachine):
    """Against the plainest queue there is: a list of who is in and a list of who waits."""

    def __init__(self):
        super().__init__()
        self.slots = Slots()
        self.limit = 2
        self.inside, self.waiting = [], []

    def admit(self):
        while self.waiting and (self.limit is None or len(self.inside) < self.limit):
            self.inside.append(self.waiting.pop(0))

    @rule(limit=st.sampled_from([1, 2, 2, 2, 3, None]))
    def take(self, limit):
        self.limit = limit
        future = self.slots.take("key", limit)
        self.waiting.append((len(self.inside) + len(self.waiting), future))
        self.admit()

    @precondition(lambda self: self.inside or self.waiting)
    @rule(data=st.data())
    def leave(self, data):
        somebody = data.draw(st.sampled_from([*self.inside, *self.waiting]))
        place = self.inside if somebody in self.inside else self.waiting
        place.remove(somebody)
        self.slots.leave("key", somebody[1])
        self.admit()

    @invariant()
    def who_is_in_is_in_and_who_waits_waits(self):
        assert all(future.done() for _, future in self.inside)
        assert not any(future.done() for _, future in self.waiting)
        assert self.slots.load("key") == len(self.inside)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_model_that_is_not_known_to_be_loaded_needs_the_lock():
    switches = Switches()
    assert switches.needs_lock("h:1", "a")
    switches.answered("h:1", "a")
    assert not switches.needs_lock("h:1", "a")
    assert switches.needs_lock("h:1", "b")
    assert switches.needs_lock("h:2", "a")
    switches.forget("h:1", "a")
    assert switches.needs_lock("h:1", "a")
    switches.forget("h:9", "a")


def test_a_model_that_is_new_may_have_taken_the_place_of_others():
    switches = Switches()
    switches.answered("h:1", "a")
    switches.answered("h:2", "a")
    switches.answered("h:1", "b")
    assert switches.needs_lock("h:1", "a")
    assert not switches.needs_lock("h:1", "b")
    assert not switches.needs_lock("h:2", "a")


def test_a_model_that_has_not_answered_for_long_needs_the_lock_again():
    clock = Clock()
    switches = Switches(clock)
    switches.answered("h", "a")
    clock.now = REMEMBERED_S
    assert not switches.needs_lock("h", "a")
    switches.answered("h", "a")
    clock.now = 2 * REMEMBERED_S + 1
    assert switches.needs_lock("h", "a")
