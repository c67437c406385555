"""Too many calls at once: the surplus is told at once, and neither the others nor what comes after notices."""

import asyncio

import httpx
import pytest

from api.data import lane
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World


async def test_the_surplus_is_told_at_once_and_another_base_is_served(
    world: World, base: Base, editor: httpx.AsyncClient, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "MAX_UNDER_WAY_AT_ONE", 5)
    other = await world.tenant()
    await other.add_table("Tasks")
    neighbour = client(await other.token())
    assert (await neighbour.get(other.path())).status_code == 200

    flood = [asyncio.create_task(editor.get(base.path())) for _ in range(40)]
    await asyncio.sleep(0)
    served = await neighbour.get(other.path())
    answers = await asyncio.gather(*flood)

    assert served.status_code == 200
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(answers) - len(refused) >= 5
    assert len(refused) >= 5
    for answer in refused:
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "overloaded"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert (await editor.get(base.path())).status_code == 200


async def test_all_bases_together_have_a_bound_too(
    base: Base, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "MAX_UNDER_WAY", 0)
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 503
    monkeypatch.undo()
    assert (await editor.get(base.path())).json()["records"] == []
