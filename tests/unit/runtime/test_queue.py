import asyncio

from mtp_operator.runtime.queue import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, WorkQueue

from .clock import Clock


def test_a_key_that_waits_already_is_not_added_twice() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())

    for key in ("a", "b", "a"):
        queue.add(key)

    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", None]


def test_a_key_in_work_is_handed_out_again_only_after_it_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    queue.add("a")
    queue.take()

    queue.add("a")
    queue.add("a")

    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_a_delayed_key_comes_when_it_is_due_and_the_earliest_time_counts() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)

    clock.advance(4.9)
    assert queue.take() is None
    clock.advance(0.1)
    assert queue.take() == "a"
    queue.done("a")
    clock.advance(100)
    assert queue.take() is None


def test_a_key_that_is_put_off_for_long_and_comes_often_leaves_no_timers_behind() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    for number in range(1000):
        queue.add(f"key-{number % 10}")
        key = queue.take()
        assert key is not None
        queue.done(key)
        queue.add_after(key, 30 * 86_400)
        clock.advance(30)

    assert queue.timers <= 40
    clock.advance(31 * 86_400)
    assert {queue.take() for _ in range(11)} == {*(f"key-{number}" for number in range(10)), None}


def test_work_before_its_time_makes_the_delay_void() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")

    clock.advance(11)

    assert queue.take() is None


def test_a_delay_that_ends_while_the_key_is_worked_brings_it_back_afterwards() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add("a")
    queue.take()
    queue.add_after("a", 1)
    clock.advance(2)

    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"


def test_the_backoff_of_a_key_doubles_up_to_its_limit_and_ends_with_success() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    backoffs = []
    queue.add("a")
    for _ in range(12):
        assert queue.take() == "a"
        backoffs.append(queue.retry("a"))
        clock.advance(backoffs[-1])

    assert backoffs[:4] == [FIRST_BACKOFF_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert backoffs[-1] == LONGEST_BACKOFF_SECONDS

    queue.take()
    queue.done("a")
    queue.add("a")
    queue.take()
    assert queue.retry("a") == FIRST_BACKOFF_SECONDS


def test_the_backoff_of_one_key_does_not_hold_up_another_nor_a_change_of_its_own() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    queue.add("a")
    queue.take()
    queue.retry("a")

    queue.add("b")
    assert queue.take() == "b"
    queue.add("a")
    assert queue.take() == "a"


async def test_waiting_workers_get_each_key_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)

    queue.add("a")
    queue.add_after("b", 0.01)
    done, pending = await asyncio.wait(waiting, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 2:
        more, pending = await asyncio.wait(pending, timeout=1, return_when=asyncio.FIRST_COMPLETED)
        done |= more

    assert sorted(str(task.result()) for task in done) == ["a", "b"]
    queue.close()
    assert [await task for task in pending] == [None]


async def test_a_closed_queue_hands_nothing_out() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.close()

    assert await queue.get() is None
