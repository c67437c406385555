"""Calls that go together: nobody waits for company, nobody is lost, and nothing stays behind."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.errors import Unavailable
from db import together
from db.together import MOST_UNDER_WAY, Together, _UnderWay

TURNS = 50
"""How often the loop comes round before nothing can be left that needs no waiting for time."""


class Watched(Together[str, str, str]):
    """Counts how often those who wait look on."""

    looks = 0

    def _watch(self, kind: str, here: _UnderWay[str, str]) -> None:
        self.looks += 1
        super()._watch(kind, here)


class Desk:
    """What is asked: each call stays under way until it is let go, with what it is to answer."""

    def __init__(self, apart: Callable[[str], Sequence[str]] | None = None, **bounds: Any) -> None:
        self.together = Watched(self._ask, apart, **bounds)
        self.asked: list[tuple[str, ...]] = []
        self.under_way: dict[tuple[str, ...], asyncio.Future[Sequence[str | None]]] = {}
        self.came = asyncio.Event()

    async def _hold(self, items: tuple[str, ...]) -> Sequence[str | None]:
        self.asked.append(items)
        self.under_way[items] = asyncio.get_running_loop().create_future()
        self.came.set()
        return await self.under_way[items]

    async def _ask(self, kind: str, items: Sequence[str]) -> Sequence[str | None]:
        return await self._hold(tuple(f"{kind}{item}" for item in items))

    def call(self, item: str, kind: str = "") -> asyncio.Task[str]:
        """Call with one item; by itself it is asked for as `item!`."""

        async def alone() -> str:
            (found,) = await self._hold((f"{kind}{item}!",))
            assert found is not None
            return found

        return asyncio.create_task(self.together(kind, item, alone))

    async def calls(self, *items: str) -> list[asyncio.Task[str]]:
        """Call with each, in this order."""
        tasks = [self.call(item) for item in items]
        await settled()
        return tasks

    async def let_go(self, *items: str, found: Sequence[str | None] | BaseException | None = None) -> None:
        """Answer what is under way with these items: each by itself unless told otherwise."""
        under_way = self.under_way.pop(items)
        if isinstance(found, BaseException):
            under_way.set_exception(found)
        else:
            under_way.set_result(items if found is None else found)
        await settled()

    async def until_asked(self, count: int) -> None:
        """Wait until so many calls were asked in all."""
        while len(self.asked) < count:
            self.came.clear()
            await self.came.wait()


async def settled() -> None:
    """Let all go on that can."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's patience ends while a test is about something else."""
    monkeypatch.setattr(together, "PATIENCE_S", 3_600.0)


@pytest.mark.usefixtures("patient")
async def test_the_first_goes_alone_and_those_that_come_meanwhile_as_one() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    assert desk.asked == [("a!",)]
    await desk.let_go("a!", found=["A"])
    assert desk.asked == [("a!",), ("b", "c")]
    late = await desk.calls("d")
    assert len(desk.asked) == 2
    await desk.let_go("b", "c", found=["B", "C"])
    assert desk.asked[2:] == [("d",)]
    await desk.let_go("d")
    assert await asyncio.gather(*tasks, *late) == ["A", "B", "C", "d"]
    # Nobody is under way now, so that the next is a first again.
    again = desk.call("e")
    await settled()
    assert desk.asked[3:] == [("e!",)]
    await desk.let_go("e!")
    assert await again == "e!"


@pytest.mark.usefixtures("patient")
async def test_kinds_have_nothing_to_do_with_each_other() -> None:
    desk = Desk()
    first, other = desk.call("a", "x"), desk.call("a", "y")
    waits = desk.call("b", "x")
    await settled()
    assert desk.asked == [("xa!",), ("ya!",)]
    await desk.let_go("ya!")
    assert len(desk.asked) == 2
    await desk.let_go("xa!")
    await desk.let_go("xb")
    assert await asyncio.gather(*[first, other, waits]) == ["xa!", "ya!", "xb"]


@pytest.mark.usefixtures("patient")
async def test_no_more_than_a_bound_go_together_in_the_order_they_came() -> None:
    desk = Desk(most=5)
    items = [f"{n}" for n in range(13)]
    tasks = await desk.calls("first", *items)
    await desk.let_go("first!")
    groups = [tuple(items[:5]), tuple(items[5:10]), tuple(items[10:])]
    for n, group in enumerate(groups):
        assert desk.asked[1:] == groups[: n + 1]
        await desk.let_go(*group)
    assert await asyncio.gather(*tasks) == ["first!", *items]


@pytest.mark.usefixtures("patient")
async def test_where_several_may_be_under_way_that_many_go_beside_each_other() -> None:
    desk = Desk(most=2, at_once=2)
    tasks = await desk.calls("a", "b", "c", "d", "e", "f", "g")
    assert desk.asked == [("a!",), ("b!",)]
    await desk.let_go("b!")
    assert desk.asked[2:] == [("c", "d")]
    await desk.let_go("c", "d")
    assert desk.asked[3:] == [("e", "f")]
    await desk.let_go("a!")
    assert desk.asked[4:] == [("g",)]
    await desk.let_go("e", "f")
    # One place is free, and nobody waits: who comes now goes at once.
    tasks += await desk.calls("h", "i")
    assert desk.asked[5:] == [("h!",)]
    await desk.let_go("h!")
    await desk.let_go("g")
    await desk.let_go("i")
    assert await asyncio.gather(*tasks) == ["a!", "b!", "c", "d", "e", "f", "g", "h!", "i"]
    assert not desk.together._kinds


@pytest.mark.usefixtures("patient")
async def test_items_with_a_name_in_common_go_apart_and_in_order() -> None:
    desk = Desk(apart=lambda item: item[1:])
    tasks = await desk.calls("0", "1a", "2ab", "3b", "4c", "5a", "6ca")
    await desk.let_go("0!")
    assert desk.asked[1:] == [("1a", "3b", "4c")]
    # What stays behind goes before all that come after, but keeps none of these back.
    late = await desk.calls("7", "8b")
    for group in (("1a", "3b", "4c"), ("2ab", "7"), ("5a", "8b"), ("6ca",)):
        assert desk.asked[-1] == group
        await desk.let_go(*group)
    found = await asyncio.gather(*tasks, *late)
    assert found == ["0!", "1a", "2ab", "3b", "4c", "5a", "6ca", "7", "8b"]


@pytest.mark.usefixtures("patient")
async def test_who_waits_for_his_like_goes_before_those_who_came_later() -> None:
    desk = Desk(apart=lambda item: item[1:], most=2)
    tasks = await desk.calls("0", "1a", "2a", "3b", "4c", "5d")
    await desk.let_go("0!")
    for group in (("1a", "3b"), ("2a", "4c"), ("5d",)):
        assert desk.asked[-1] == group
        await desk.let_go(*group)
    assert await asyncio.gather(*tasks) == ["0!", "1a", "2a", "3b", "4c", "5d"]


@pytest.mark.usefixtures("patient")
async def test_who_gets_nothing_goes_by_himself() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c", "d")
    await desk.let_go("a!")
    await desk.let_go("b", "c", "d", found=["B", None, "D"])
    assert desk.asked[2:] == [("c!",)]
    assert [task.done() for task in tasks] == [True, True, False, True]
    await desk.let_go("c!", found=["C"])
    assert await asyncio.gather(*tasks) == ["a!", "B", "C", "D"]


@pytest.mark.usefixtures("patient")
async def test_who_is_refused_by_himself_is_refused_alone() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    await desk.let_go("a!", found=KeyError("a"))
    await desk.let_go("b", "c", found=[None, "C"])
    await desk.let_go("b!", found=KeyError("b"))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [repr(each) for each in found] == ["KeyError('a')", "KeyError('b')", "'C'"]


@pytest.mark.usefixtures("patient")
async def test_what_a_group_fails_of_reaches_all_of_it_and_nobody_else() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    await desk.let_go("a!")
    late = await desk.calls("d", "e")
    await desk.let_go("b", "c", found=OSError("gone"))
    await desk.let_go("d", "e")
    found = await asyncio.gather(*tasks, *late, return_exceptions=True)
    assert [repr(each) for each in found] == ["'a!'", "OSError('gone')", "OSError('gone')", "'d'", "'e'"]


@pytest.mark.usefixtures("patient")
async def test_who_gives_up_while_he_waits_is_left_out() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c", "d")
    tasks[2].cancel()
    await settled()
    await desk.let_go("a!")
    assert desk.asked[1:] == [("b", "d")]
    tasks[1].cancel()  # he is under way: those beside him are answered
    await settled()
    await desk.let_go("b", "d")
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [str, asyncio.CancelledError, asyncio.CancelledError, str]
    assert not desk.together._kinds


@pytest.mark.usefixtures("patient")
async def test_where_all_give_up_nothing_is_asked() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    for task in tasks[1:]:
        task.cancel()
    await settled()
    await desk.let_go("a!")
    assert desk.asked == [("a!",)]
    assert not desk.together._kinds


@pytest.mark.usefixtures("patient")
async def test_who_gives_up_under_way_lets_the_others_go() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    tasks[0].cancel()
    await settled()
    assert desk.asked[1:] == [("b", "c")]
    await desk.let_go("b", "c")
    assert await asyncio.gather(*tasks[1:]) == ["b", "c"]
    assert tasks[0].cancelled()


async def test_those_who_wait_go_beside_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.001)
    desk = Desk()
    first = await desk.calls("slow")
    tasks = []
    for n in range(1, MOST_UNDER_WAY):
        tasks += await desk.calls(f"{n}a", f"{n}b")
        await desk.until_asked(n + 1)
    groups = [(f"{n}a", f"{n}b") for n in range(1, MOST_UNDER_WAY)]
    assert desk.asked == [("slow!",), *groups]
    # All places are taken: however often they look, these stay until one is back, and then go at once.
    last = await desk.calls("x", "y")
    looks = desk.together.looks
    while desk.together.looks < looks + 20:  # noqa: ASYNC110  (looks are what is waited for)
        await asyncio.sleep(together.PATIENCE_S)
    assert len(desk.asked) == MOST_UNDER_WAY
    # What went beside because of the slow one leaves no place that others take: one at a time is enough.
    for group in groups:
        await desk.let_go(*group)
    await desk.until_asked(MOST_UNDER_WAY + 1)
    assert desk.asked[-1] == ("x", "y")
    await desk.let_go("x", "y")
    await desk.let_go("slow!")
    names = [name for group in groups for name in group]
    assert await asyncio.gather(*first, *tasks, *last) == ["slow!", *names, "x", "y"]
    await _nothing_is_left(desk)


async def test_who_cannot_set_out_in_time_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.001)
    monkeypatch.setattr(together, "MOST_UNDER_WAY", 1)
    monkeypatch.setattr(together, "WAIT_S", 0.01)
    desk = Desk()
    first, *late = await desk.calls("slow", "a", "b")
    found = await asyncio.gather(*late, return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable, Unavailable]
    assert desk.asked == [("slow!",)]
    await desk.let_go("slow!")
    assert await first == "slow!"
    await _nothing_is_left(desk)


@pytest.mark.usefixtures("patient")
async def test_an_answer_to_some_of_a_group_is_none() -> None:
    desk = Desk()
    tasks = await desk.calls("a", "b", "c")
    await desk.let_go("a!")
    await desk.let_go("b", "c", found=["B"])
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [str, ValueError, ValueError]


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PATIENCE_S", 0.001)
    desk = Desk(apart=lambda item: item[:1])
    tasks = await desk.calls("a1", "b1", "a2", "a3", "c1")
    tasks[3].cancel()
    await desk.until_asked(2)
    await desk.let_go("b1", "a2", "c1", found=[None, "A2", "C1"])
    await desk.let_go("b1!", found=OSError())
    await desk.let_go("a1!")
    await asyncio.gather(*tasks, return_exceptions=True)
    await _nothing_is_left(desk)


async def _nothing_is_left(desk: Desk) -> None:
    """No kind, no task, and no look that is followed by another for ever."""
    assert not desk.together._kinds
    assert not desk.together._going
    assert not desk.under_way
    looks = desk.together.looks
    for _ in range(20):
        await asyncio.sleep(together.PATIENCE_S)
    assert desk.together.looks <= looks + 1
