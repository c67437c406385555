"""Idempotency-Key: done once, answered alike, whoever races."""

import asyncio
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from core import ids
from core.schema.ops.rename_field import RenameField
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client, settings_of
from tests.api.data.world import Base, World
from tests.conftest import Databases


def key(name: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": name or ids.new()}


async def test_a_repeated_call_is_answered_alike_and_does_nothing(
    base: Base, editor: httpx.AsyncClient, world: World
) -> None:
    path = base.path()
    made = await editor.post(
        path, json={"fields": {"Name": "a", "Tags": ["a"], "Data": {"x": [1]}}}, headers=key("1")
    )
    where = made.headers["location"]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", path, {"json": {"fields": {"Name": "b"}}}),
        ("POST", path, {"json": {"records": [{"fields": {"Name": n}} for n in "cde"]}}),
        ("PATCH", where, {"json": {"fields": {"Count": 1}}}),
        (
            "PATCH",
            where,
            {"json": {"fields": {"Count": 1}}},
        ),  # with another key: nothing to change, still an answer
        ("PUT", where, {"json": {"fields": {"Name": "f"}}}),
        ("PATCH", path, {"json": {"records": [{"id": made.json()["id"], "fields": {"Count": 7}}]}}),
        ("DELETE", where, {}),
    ]
    for method, url, more in calls:
        sent = key()
        first = await editor.request(method, url, headers=sent, **more)
        assert first.status_code in (200, 201), first.text
        assert "idempotency-hit" not in first.headers
        before = len(await world.changes(base))
        again = await editor.request(method, url, headers=sent, **more)
        assert again.headers["idempotency-hit"] == "true"
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        for header in ("etag", "location"):
            assert again.headers.get(header) == first.headers.get(header)
        assert len(await world.changes(base)) == before
    gone = [r["id"] for r in (await editor.get(path)).json()["records"]][:2]
    sent = key()
    first = await editor.delete(path, params={"id": gone}, headers=sent)
    again = await editor.delete(path, params={"id": gone}, headers=sent)
    assert (again.status_code, again.json()) == (200, first.json())
    # The very first call, long overtaken, still answers what it answered then.
    late = await editor.post(
        path, json={"fields": {"Name": "a", "Tags": ["a"], "Data": {"x": [1]}}}, headers=key("1")
    )
    assert (late.json(), late.headers["idempotency-hit"]) == (made.json(), "true")


async def test_the_same_key_with_another_request_is_refused(base: Base, editor: httpx.AsyncClient) -> None:
    sent, path = key(), base.path()
    made = await editor.post(path, json={"fields": {"Name": "a"}}, headers=sent)
    for method, url, body in (
        ("POST", path, {"fields": {"Name": "b"}}),
        ("PUT", path, {"records": [{"id": made.json()["id"], "fields": {"Name": "a"}}]}),
        ("PATCH", made.headers["location"], {"fields": {"Name": "a"}}),
    ):
        other = await editor.request(method, url, json=body, headers=sent)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        assert other.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert len((await editor.get(path)).json()["records"]) == 1


async def test_a_key_is_its_tokens_own(base: Base, editor: httpx.AsyncClient, client: Client) -> None:
    sent = key()
    other = client(await base.token())
    for http in (editor, other):
        assert (
            "idempotency-hit"
            not in (await http.post(base.path(), json={"fields": {"Name": "a"}}, headers=sent)).headers
        )
    assert len((await editor.get(base.path())).json()["records"]) == 2


async def test_a_refused_call_leaves_its_key_free(base: Base, editor: httpx.AsyncClient) -> None:
    sent = key()
    refused = await editor.patch(f"{base.path()}/{ids.new()}", json={"fields": {"Name": "a"}}, headers=sent)
    assert refused.status_code == 404
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}}, headers=sent)).status_code == 201


async def test_racing_twins_write_once(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    """Of many that start together one writes; each other repeats its answer or is told that it is under way."""
    for n in range(20):
        sent = key()
        body = {"records": [{"fields": {"Name": f"{n}", "Count": c}} for c in range(3)]}
        answers = await asyncio.gather(*(editor.post(base.path(), json=body, headers=sent) for _ in range(8)))
        done = [a for a in answers if a.status_code == 201]
        under_way = [a for a in answers if a.status_code == 409]
        assert len(done) + len(under_way) == len(answers)
        assert all(a.json()["code"] == "idempotency_in_flight" for a in under_way)
        assert [a.headers.get("idempotency-hit") for a in done].count(None) == 1
        assert all(a.json() == done[0].json() for a in done)
    assert len(await world.changes(base)) == 60


@pytest.mark.parametrize("name", ["", "x" * 256, "tab\there", "\x7f", "\xe9"])
async def test_a_key_is_printable_and_short(base: Base, editor: httpx.AsyncClient, name: str) -> None:
    sent = httpx.Headers({"Idempotency-Key": name.encode("latin-1")}, encoding="latin-1")
    answer = await editor.post(base.path(), json={"fields": {"Name": "a"}}, headers=sent)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"


async def test_any_printable_key_is_taken(base: Base, editor: httpx.AsyncClient) -> None:
    for name in (" ~", "\"'\\", "x" * 255, "{}", "$1 %s"):
        sent = {"Idempotency-Key": name}
        body = {"fields": {"Name": name[:9]}}
        first = await editor.post(base.path(), json=body, headers=sent)
        again = await editor.post(base.path(), json=body, headers=sent)
        assert (first.status_code, again.json(), again.headers["idempotency-hit"]) == (
            201,
            first.json(),
            "true",
        )


async def test_a_repeated_call_leaves_its_connection_as_it_was(base: Base, databases: Databases) -> None:
    """One connection serves all: a repeat is answered before its statement is prepared, a refusal before or after."""
    app = DataApi(settings_of(databases, pool_max_size=1))
    path, token = base.path(), await base.token()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://data", headers=token.headers
        ) as http,
    ):
        sent, body = key(), {"fields": {"Name": "a", "Mail": "a@b.co"}}
        made = await http.post(path, json=body, headers=sent)
        where = made.headers["location"]
        (home,) = app.homes._homes.values()
        conn = await home._lines.take("")
        home._lines.give(conn)

        async def forget() -> None:
            for name in list(conn.prepared):
                await conn.execute(f"deallocate {name}")
            conn.prepared.clear()

        await forget()
        assert (await http.post(path, json=body, headers=sent)).headers["idempotency-hit"] == "true"
        assert [*conn.prepared.values()] == [False]
        for n in range(5):
            assert (await http.post(path, json={"fields": {"Name": f"{n}"}})).status_code == 201
        assert [*conn.prepared.values()] == [True]
        await forget()
        other = await http.post(path, json={"fields": {"Name": "b"}}, headers=sent)
        assert other.json()["code"] == "idempotency_mismatch"  # before it is prepared
        assert (await http.post(path, json=body)).json()["code"] == "duplicate_value"  # after
        assert (await http.post(path, json={"fields": {"Name": "c"}})).status_code == 201
        for name in conn.prepared:  # what we believe is there is not
            conn.prepared[name] = True
        await conn.execute(f"deallocate {next(reversed(conn.prepared))}")
        assert (await http.post(path, json={"fields": {"Name": "d"}})).status_code == 201
        assert (await http.get(where)).status_code == 200


async def test_a_repeat_outlives_the_schema(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    """What was done is answered, though its body would be refused by now; another body is refused as ever."""
    path, field = base.path(), base.tables["Tasks"].fields[2]
    one = {"fields": {"Name": "a", "Count": 1}}
    made = await editor.post(path, json=one, headers=key("first"))
    where, record_id = made.headers["location"], made.json()["id"]
    calls: list[tuple[str, str, Any]] = [
        ("POST", path, one),
        ("POST", path, {"records": [one, one]}),
        ("PATCH", where, {"fields": {"Count": 2}}),
        ("PUT", path, {"records": [{"id": record_id, "fields": {"Name": "b", "Count": 3}}]}),
    ]
    firsts = []
    for n, (method, url, body) in enumerate(calls):
        firsts.append(await editor.request(method, url, json=body, headers=key(f"outlives {n}")))
        assert firsts[-1].status_code in (200, 201)
    op = RenameField(
        pointer="",
        table_id=str(base.tables["Tasks"].id),
        field_id=str(field.id),
        table="Tasks",
        field="Count",
        new_name="Number",
    )
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    await base.apply(DDL[op.kind].up(op, target))
    before = len(await world.changes(base))
    for n, ((method, url, body), first) in enumerate(zip(calls, firsts, strict=True)):
        again = await editor.request(method, url, json=body, headers=key(f"outlives {n}"))
        assert again.headers.get("idempotency-hit") == "true", again.text
        assert again.status_code == first.status_code
        assert again.text == first.text.replace('"Count"', '"Number"')
        for header in ("etag", "location"):
            assert again.headers.get(header) == first.headers.get(header)
        assert (await editor.request(method, url, json=body, headers=key())).json()["code"] == "invalid"
        other = await editor.request(method, url, json={"fields": {"Count": 9}}, headers=key(f"outlives {n}"))
        assert other.json()["code"] == "idempotency_mismatch"
    assert (await editor.post(path, json=one)).status_code == 422
    assert len(await world.changes(base)) == before
