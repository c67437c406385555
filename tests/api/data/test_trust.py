"""Who may do what: no spelling of a request reaches another tenant or workspace, and a reader never writes."""

import asyncio
import random
import time
from typing import Any

import httpx
import pytest

from core import ids, token
from tests.api.data.conftest import Client
from tests.api.data.world import Base, Token, World

REQUESTS = 600


@pytest.fixture(scope="module")
async def four(world: World) -> tuple[list[Base], list[list[str]], list[Token]]:
    """Two tenants of two workspaces each: their bases, the records in them, and a token of each."""
    bases, tokens = [], []
    for _ in range(2):
        first = await world.tenant()
        bases += [first, await world.base(first.tenant_id)]
    for base in bases:
        await base.add_table("Tasks")
        await base.add_table("Others")
        tokens.append(await base.token(workspace_id=base.workspace_id))
    return bases, [[] for _ in bases], tokens


async def test_no_request_reaches_another_tenant_or_workspace(
    four: Any, client: Client, world: World
) -> None:
    """Generated requests mix the ids of four worlds; each may only ever touch its own."""
    bases, _, tokens = four
    rng = random.Random(11)
    https = [client(t) for t in tokens]
    marks = [f"mark{n}" for n in range(4)]
    known: list[list[str]] = []
    for n, http in enumerate(https):
        rows = [{"fields": {"Name": marks[n], "Count": c}} for c in range(5)]
        made = await http.post(bases[n].path(), json={"records": rows})
        known.append([r["id"] for r in made.json()["records"]])
    cursors = [
        (await http.get(bases[n].path(), params={"limit": 1})).json()["next_cursor"]
        for n, http in enumerate(https)
    ]
    before = [await world.changes(base) for base in bases]
    tried = reached = 0
    while tried < REQUESTS:
        me, base, table, record = (rng.randrange(4) for _ in range(4))
        name = rng.choice(["Tasks", "Others"])
        path = f"/bases/{bases[base].id}/tables/{bases[table].tables[name].id}/records"
        is_mine = me == base == table
        record_id = rng.choice(known[record])
        body = {"fields": {"Name": "taken"}}
        many = {"records": [{"id": rng.choice(known[record]), "fields": {"Name": "taken"}}]}
        sent = {"Idempotency-Key": rng.choice(["same", ids.new()])}
        if is_mine and (record == me or name == "Others"):
            continue
        tried += 1
        method, url, more = rng.choice(
            [
                ("GET", f"{path}/{record_id}", {}),
                ("PATCH", f"{path}/{record_id}", {"json": body, "headers": sent}),
                ("PUT", f"{path}/{record_id}", {"json": body, "headers": sent}),
                ("DELETE", f"{path}/{record_id}", {"headers": sent}),
                ("PATCH", path, {"json": many, "headers": sent}),
                ("DELETE", path, {"params": {"id": record_id}, "headers": sent}),
                ("GET", path, {"params": {"cursor": cursors[record], "limit": 1}}),
                ("GET", path, {"params": {"filter": f"id.eq.{record_id}"}}),
            ]
        )
        answer = await https[me].request(method, url, **more)
        for n, mark in enumerate(marks):
            assert n == me or mark not in answer.text
        if is_mine and answer.request.method == "GET" and "filter" in str(answer.url):
            assert answer.json()["records"] == []
        elif is_mine and "cursor" in str(answer.url):
            assert answer.status_code == 400
        else:
            assert answer.status_code == 404, (answer.request.method, answer.url, answer.text)
            assert answer.json()["code"] == "not_found"
            reached += 1
    assert reached > REQUESTS / 2
    assert [await world.changes(base) for base in bases] == before


async def test_what_is_anothers_answers_like_what_does_not_exist(four: Any, client: Client) -> None:
    bases, _, tokens = four
    mine, sibling, other = bases[0], bases[1], bases[2]
    http = client(tokens[0])
    whole = client(await mine.token(base_id=mine.id))
    nobody, record = ids.new(), ids.new()

    def shape(answer: httpx.Response) -> tuple[int, dict[str, Any], list[str]]:
        body = answer.json()
        body.pop("request_id")
        return answer.status_code, body, sorted(answer.headers)

    for base in (sibling, other):
        table = base.tables["Tasks"].id
        for theirs, nothing in (
            (f"/bases/{base.id}/tables/{table}/records", f"/bases/{nobody}/tables/{nobody}/records"),
            (f"/bases/{mine.id}/tables/{table}/records", f"/bases/{mine.id}/tables/{nobody}/records"),
            (
                f"/bases/{base.id}/tables/{table}/records/{record}",
                f"/bases/{nobody}/tables/{nobody}/records/{record}",
            ),
        ):
            for caller in (http, whole):
                assert shape(await caller.get(theirs)) == shape(await caller.get(nothing))
                assert shape(await caller.delete(theirs)) == shape(await caller.delete(nothing))
                assert (await caller.get(theirs)).status_code == 404
    for odd in ("x", nobody.upper(), nobody[:-1], nobody + "0", "%00", "..", nobody + "%2f"):
        assert (await http.get(f"/bases/{odd}/tables/{odd}/records")).status_code == 404
        assert (await http.get(f"{mine.path()}/{odd}")).status_code in (404, 200 if odd == ".." else 404)


@pytest.mark.parametrize("kind", ["scope", "viewer"])
async def test_a_reader_never_writes(
    base: Base, editor: httpx.AsyncClient, client: Client, world: World, kind: str
) -> None:
    made = await editor.post(base.path(), json={"fields": {"Name": "a"}})
    where, record_id = made.headers["location"], made.json()["id"]
    reader = client(await (base.token("records:read") if kind == "scope" else base.token(role="viewer")))
    assert (await reader.get(where)).json() == made.json()
    for answer in (
        await reader.post(base.path(), json={"fields": {"Name": "b"}}),
        await reader.patch(where, json={"fields": {"Name": "b"}}),
        await reader.put(where, json={"fields": {"Name": "b"}}),
        await reader.delete(where),
        await reader.patch(base.path(), json={"records": [{"id": record_id, "fields": {}}]}),
        await reader.put(base.path(), json={"records": [{"id": record_id, "fields": {"Name": "b"}}]}),
        await reader.delete(base.path(), params={"id": record_id}),
        await reader.post(base.path(), content=b"not even JSON"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "read_only")
    assert len(await world.changes(base)) == 1


async def test_a_writer_without_the_scope_never_reads(base: Base, client: Client) -> None:
    writer = client(await base.token("records:write"))
    made = await writer.post(base.path(), json={"fields": {"Name": "a"}})
    assert made.status_code == 201
    for path in (base.path(), made.headers["location"]):
        answer = await writer.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


async def test_a_writer_without_the_scope_is_answered_without_values(
    base: Base, editor: httpx.AsyncClient, client: Client
) -> None:
    writer = client(await base.token("records:write"))
    made = await editor.post(base.path(), json={"fields": {"Name": "secret", "Note": "secret"}})
    where, record_id = made.headers["location"], made.json()["id"]
    once = {"Idempotency-Key": "once"}
    path, item = base.path(), {"id": record_id}
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("PATCH", where, {"json": {"fields": {}}}),
        ("PATCH", where, {"json": {"fields": {"Count": 1}}, "headers": once}),
        ("PATCH", where, {"json": {"fields": {"Count": 1}}, "headers": once}),
        ("PATCH", path, {"json": {"records": [item | {"fields": {}}]}}),
        ("PATCH", path, {"json": {"records": [item | {"fields": {"Count": 2}}]}}),
        ("PUT", path, {"json": {"records": [item | {"fields": {"Name": "secret"}}]}}),
        ("PUT", where, {"json": {"fields": {"Name": "secret"}}}),
        ("POST", path, {"json": {"fields": {"Name": "secret"}}}),
        ("POST", path, {"json": {"records": [{"fields": {"Name": "secret"}}]}}),
        ("DELETE", path, {"params": {"id": record_id}}),
    )
    for method, url, more in calls:
        answer = await writer.request(method, url, **more)
        assert answer.status_code in (200, 201), answer.text
        assert "secret" not in answer.text
        for record in answer.json().get("records", [answer.json()]):
            assert record.get("fields", {}) == {}
            assert record["version"] >= 1


async def test_a_token_is_no_more_than_its_maker_is_now(base: Base, client: Client, world: World) -> None:
    made = await base.token(role="editor")
    http = client(made)
    assert (await http.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
    await world.control("update control.memberships set role = 'viewer' where user_id = $1", made.user_id)
    await _until(http, base.path(), 403, method="POST", json={"fields": {"Name": "b"}})
    assert (await http.get(base.path())).status_code == 200
    await world.control("delete from control.memberships where user_id = $1", made.user_id)
    await _until(http, base.path(), 404)


async def test_the_change_log_names_who_did_it(base: Base, client: Client, world: World) -> None:
    made = await base.token(role="editor")
    await client(made).post(base.path(), json={"fields": {"Name": "a"}})
    (row,) = await world.changes(base)
    assert (row["actor_id"], row["token_id"]) == (made.user_id, made.id)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer pb_x", "Bearer \xe9", f"Bearer {'x' * 52}"],
)
async def test_nobody_gets_in_without_a_token(base: Base, client: Client, authorization: str | None) -> None:
    http = client(await base.token())
    http.headers.pop("Authorization")
    headers = (
        None if authorization is None else httpx.Headers({"Authorization": authorization}, encoding="latin-1")
    )
    for method, path in (
        ("GET", base.path()),
        ("POST", base.path()),
        ("GET", f"/bases/x/tables/y/records/{ids.new()}"),
    ):
        answer = await http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_unknown_token_is_refused_like_a_misspelt_one(base: Base, client: Client) -> None:
    unknown = client(Token(token.make().secret, ids.new(), None))
    misspelt = client(Token(token.make().secret[:-1] + "!", ids.new(), None))
    one, two = await unknown.get(base.path()), await misspelt.get(base.path())
    assert one.status_code == two.status_code == 401
    assert one.json() | {"request_id": ""} == two.json() | {"request_id": ""}


async def test_a_revoke_bites_within_a_second(base: Base, client: Client, world: World) -> None:
    made = await base.token()
    http = client(made)
    assert (await http.get(base.path())).status_code == 200
    await world.control("update control.api_tokens set revoked_at = now() where id = $1", made.id)
    await _until(http, base.path(), 401)


async def test_an_expired_token_is_nobodys(base: Base, client: Client) -> None:
    assert (await client(await base.token(expires_in_s=-1)).get(base.path())).status_code == 401
    http = client(await base.token(expires_in_s=1.5))
    assert (await http.get(base.path())).status_code == 200
    await _until(http, base.path(), 401, within_s=2.5)


async def test_a_suspended_tenant_is_told_so_and_comes_back(base: Base, client: Client, world: World) -> None:
    http = client(await base.token())
    assert (await http.get(base.path())).status_code == 200
    await world.control("update control.tenants set status = 'suspended' where id = $1", base.tenant_id)
    refused = await _until(http, base.path(), 403)
    assert refused.json()["code"] == "tenant_suspended"
    await world.control("update control.tenants set status = 'active' where id = $1", base.tenant_id)
    await _until(http, base.path(), 200)
    await world.control("update control.tenants set status = 'provisioning' where id = $1", base.tenant_id)
    waiting = await _until(http, base.path(), 503)
    assert int(waiting.headers["retry-after"]) >= 1
    await world.control("update control.tenants set status = 'deleted' where id = $1", base.tenant_id)
    await _until(http, base.path(), 401)


async def test_an_archived_base_is_gone(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    assert (await editor.get(base.path())).status_code == 200
    await world.control("update control.bases set status = 'archived' where id = $1", base.id)
    await _until(editor, base.path(), 404)


async def test_a_new_table_and_a_new_base_answer_at_once(world: World, client: Client) -> None:
    base = await world.tenant()
    http = client(await base.token())
    assert (await http.get(f"/bases/{base.id}/tables/{ids.new()}/records")).status_code == 404
    await base.add_table("Tasks")
    assert (await http.get(base.path())).status_code == 200
    await base.add_table("More")
    assert (await http.post(base.path("More"), json={"fields": {"Name": "a"}})).status_code == 201
    sibling = await world.base(base.tenant_id)
    await sibling.add_table("Tasks")
    assert (await http.get(sibling.path())).status_code == 200


async def _until(
    http: httpx.AsyncClient,
    path: str,
    status: int,
    *,
    within_s: float = 1.0,
    method: str = "GET",
    **more: Any,
) -> httpx.Response:
    """Return the answer with `status`, which comes within a second of the change that it tells of."""
    deadline = time.monotonic() + within_s
    while True:
        answer = await http.request(method, path, **more)
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, f"still {answer.status_code}: {answer.text}"
        await asyncio.sleep(0.01)
