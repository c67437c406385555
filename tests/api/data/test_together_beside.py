"""Calls that come at once beside others: reads, other tokens, other kinds of call, a schema that changes."""

import asyncio
from collections import Counter

import httpx
import pytest

from core import ids
from core.schema.ops.add_field import AddField
from core.schema.ops.drop_field import DropField
from core.schema.spec import FieldSpec
from db.data.catalog import TRUSTED_S
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.bursts import ODD, Sent, burst, key, made, told, values
from tests.api.data.conftest import Client
from tests.api.data.plain import quoted
from tests.api.data.test_links import want
from tests.api.data.world import Base, World


@pytest.mark.parametrize(
    "params", [{}, {"fields": f"Note,{quoted(ODD)}"}, {"fields": "Data"}], ids=["all", "two", "one"]
)
async def test_reads_are_answered_as_alone(
    base: Base, editor: httpx.AsyncClient, groups: list[int], params: dict[str, str]
) -> None:
    """Records that are there, twice, that are not, and that the caller holds already, in one burst."""
    rows = [{"fields": values(n)} for n in range(20)]
    records = (await editor.post(base.path(), json={"records": rows})).json()["records"]
    for record in records[:5]:
        await editor.patch(f"{base.path()}/{record['id']}", json={"fields": {"Count": -1}})
    there = [record["id"] for record in records]
    held = [{"If-None-Match": tag} for tag in ('"v1"', '"v2"', 'W/"v1", "v3"', "*")]
    calls: list[Sent] = [
        ("GET", f"{base.path()}/{record_id}", {"params": params, "headers": headers})
        for n, record_id in enumerate([*there, *there[:7], ids.new(), there[9], ids.new(), ids.new()])
        for headers in ([{}, held[n % 4]] if n % 3 else [{}])
    ]
    alone = [(await burst(editor, [call]))[0] for call in calls]
    assert not groups
    answers = await burst(editor, calls)
    assert max(groups) > 10
    assert [told(a) for a in answers] == [told(a) for a in alone]
    assert Counter(a.status_code for a in answers).keys() == {200, 304, 404}
    for one, other in zip(answers, alone, strict=True):
        assert one.is_error or one.content == other.content


async def test_pages_are_answered_as_alone(
    base: Base, editor: httpx.AsyncClient, client: Client, groups: list[int]
) -> None:
    """Different pages and equal ones, of tokens that may see them and of one that may not."""
    for n in range(4):
        rows = [{"fields": {"Name": f"{n} {m}", "Count": m % 7, "Note": ", \n "}} for m in range(125)]
        assert (await editor.post(base.path(), json={"records": rows})).status_code == 201
    places: list[dict[str, str]] = []
    for query in ({}, {"sort": "-created_at"}, {"sort": "-Count", "fields": "Name"}):
        cursor: dict[str, str] = {}
        while True:
            places.append(query | cursor | {"limit": "100"})
            page = (await editor.get(base.path(), params=places[-1])).json()
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
    assert len(places) == 15
    calls: list[Sent] = [("GET", base.path(), {"params": place}) for place in places * 2 + places[:5]]
    alone = [(await burst(editor, [call]))[0] for call in calls]
    other = await base.world.base(base.tenant_id, base.workspace_id)
    viewer, stranger = client(await base.token(role="viewer")), client(await other.token(base_id=other.id))
    assert [(await each.get(base.path())).status_code for each in (viewer, stranger)] == [200, 404]
    groups.clear()
    found = await asyncio.gather(*(burst(http, calls) for http in (editor, viewer, stranger)))
    assert max(groups) > 2
    for answers in found[:2]:
        assert [(a.status_code, a.json()["records"]) for a in answers] == [
            (200, a.json()["records"]) for a in alone
        ]
        for answer, expected in zip(answers, alone, strict=True):
            assert (answer.json()["next_cursor"] is None) == (expected.json()["next_cursor"] is None)
    assert {a.status_code for a in found[2]} == {404}


async def test_links_and_long_names_are_read_as_alone(
    world: World, client: Client, groups: list[int]
) -> None:
    """What a record shows of others is an array inside of its JSON; a long name makes it in another way."""
    base = await world.tenant()
    fields = [
        {"name": "Next", "type": "link", "options": {"table": "Tasks", "inverse": "Before"}},
        {"name": "Data", "type": "json"},
        {"name": "Tags", "type": "multi_select", "options": {"choices": [{"name": ", []"}, {"name": "}"}]}},
    ]
    long = {"name": "日本" * 20 + ", []", "type": "text"}
    await want(base, [{"name": "Tasks", "fields": fields}, {"name": "Long", "fields": [long]}])
    http = client(await base.token())
    rows = [{"fields": {"Data": [{"a": ", \n "}], "Tags": ["}", ", []"]}} for _ in range(30)]
    there = [r["id"] for r in (await http.post(base.path(), json={"records": rows})).json()["records"]]
    linked = await burst(
        http,
        [
            ("PATCH", f"{base.path()}/{one}", {"json": {"fields": {"Next": there[: n % 4]}}})
            for n, one in enumerate(there)
        ],
    )
    assert max(groups) > 10
    assert [a.json()["fields"]["Next"] for a in linked] == [there[: n % 4] for n in range(30)]
    made_long = await burst(
        http,
        [("POST", base.path("Long"), {"json": {"fields": {long["name"]: f"{n}, \n "}}}) for n in range(30)],
    )
    assert [a.json()["fields"] for a in made_long] == [{long["name"]: f"{n}, \n "} for n in range(30)]
    calls: list[Sent] = [("GET", f"{base.path()}/{one}", {}) for one in there]
    calls += [("GET", a.headers["location"], {}) for a in made_long]
    alone = [(await burst(http, [call]))[0].content for call in calls]
    groups.clear()
    assert [a.content for a in await burst(http, calls)] == alone
    assert max(groups) > 10


async def test_each_token_may_what_it_may_and_its_changes_bear_its_name(
    base: Base, client: Client, world: World, groups: list[int]
) -> None:
    editor, admin, viewer = [await base.token(role=role) for role in ("editor", "admin", "viewer")]
    stranger = await (other := await world.base(base.tenant_id, base.workspace_id)).token(base_id=other.id)
    reader = await base.token("records:read")
    tokens = [editor, admin, viewer, reader, stranger]
    https = [client(token) for token in tokens]
    for http in https:  # so that they are known
        await http.get(base.path())
    records = await made(https[0], base, 8)

    async def calls(turn: int, http: httpx.AsyncClient) -> list[list[httpx.Response]]:
        keyed: list[Sent] = [
            ("POST", base.path(), {"json": {"fields": {"Name": f"{n}"}}, "headers": key(f"{n}")})
            for n in range(8)
        ]
        reads: list[Sent] = [("GET", f"{base.path()}/{r}", {}) for r in records]
        changes: list[Sent] = [
            ("PATCH", f"{base.path()}/{r}", {"json": {"fields": {"Count": turn}}}) for r in records
        ]
        return list(await asyncio.gather(burst(http, keyed), burst(http, reads), burst(http, changes)))

    found = await asyncio.gather(*(calls(turn, http) for turn, http in enumerate(https)))
    assert max(groups) > 5
    said = [[Counter(a.status_code for a in answers) for answers in each] for each in found]
    may, must_not = [{201: 8}, {200: 8}, {200: 8}], [{403: 8}, {200: 8}, {403: 8}]
    assert said[:4] == [may, may, must_not, must_not]
    assert all(set(each) <= {403, 404} for each in said[4])
    changes = await world.changes(base)
    wrote = {c["operation_id"]: (c["token_id"], c["actor_id"]) for c in changes}
    for token, (created, _, changed) in zip(tokens[:2], found[:2], strict=True):
        for answer in (*created, *changed):
            assert wrote[answer.headers["x-request-id"]] == (token.id, token.user_id)
    # The same keys of two tokens are different keys.
    assert len({a.json()["id"] for created, *_ in found[:2] for a in created}) == 16
    assert {c["token_id"] for c in changes} == {editor.id, admin.id}


async def test_what_cannot_go_along_goes_beside(
    base: Base, editor: httpx.AsyncClient, groups: list[int]
) -> None:
    """Calls that are only tried, that are to be read in another way, and that are large."""
    calls: list[Sent] = []
    for n in range(12):
        fields = {"Name": f"{n}", "Count": n}
        calls += [
            ("POST", base.path(), {"json": {"fields": fields}}),
            ("POST", base.path(), {"json": {"fields": fields}, "headers": {"Prefer": "tx=rollback"}}),
            (
                "POST",
                base.path(),
                {"json": {"fields": fields | {"Count": f"{n}"}}, "params": {"typecast": "lenient"}},
            ),
            ("POST", base.path(), {"json": {"fields": fields | {"Note": f"{n}" * 20_000}}}),
        ]
    answers = await burst(editor, calls)
    assert max(groups) > 5
    kept = {r["id"]: r for r in (await editor.get(base.path(), params={"limit": 1000})).json()["records"]}
    for n, answer in enumerate(answers):
        assert answer.json()["fields"]["Count"] == n // 4
        assert (answer.json()["id"] in kept) == (n % 4 != 1)
    assert len(kept) == 36


async def test_who_was_answered_reads_what_he_wrote(
    base: Base, editor: httpx.AsyncClient, groups: list[int]
) -> None:
    async def writes_and_reads(n: int) -> None:
        answer = await editor.post(base.path(), json={"fields": {"Name": f"{n}"}})
        for version in (1, 2, 3):
            read = await editor.get(answer.headers["location"])
            assert (read.status_code, read.content, read.headers["etag"]) == (
                200,
                answer.content,
                f'"v{version}"',
            )
            answer = (
                await editor.patch(read.request.url.path, json={"fields": {"Count": version}})
                if (version < 3)
                else await editor.delete(read.request.url.path)
            )
            answer.headers["location"] = read.request.url.path
        assert (await editor.get(answer.headers["location"])).status_code == 404

    await asyncio.gather(*(writes_and_reads(n) for n in range(30)))
    assert max(groups) > 10


async def test_a_burst_meets_the_schema_before_or_after_a_change(
    base: Base, editor: httpx.AsyncClient, groups: list[int]
) -> None:
    """A field comes, and another goes, while writes and reads are under way: each is right for one of the two."""
    table, more = base.tables["Tasks"], FieldSpec(id=ids.new(), name="More", type="integer")
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    where = {"pointer": "", "table_id": table.id, "table": table.name}
    records = await made(editor, base, 20)
    before = (await editor.get(f"{base.path()}/{records[0]}")).json()["fields"].keys()

    async def wave(turn: int) -> list[httpx.Response]:
        calls: list[Sent] = []
        for n, record_id in enumerate(records):
            url = f"{base.path()}/{record_id}"
            calls.append(("POST", base.path(), {"json": {"fields": {"Name": f"{n}", "More": n}}}))
            calls.append(("PATCH", url, {"json": {"fields": {"Count": n, "Name": f"{turn}"}}}))
            calls.append(("GET", url, {}))
        return await burst(editor, calls)

    for op in (AddField(**where, field=more), DropField(**where, field_id=more.id, field=more.name)):
        groups.clear()
        answers = await wave(0)
        changing = asyncio.create_task(base.apply(DDL[op.kind].up(op, target)))
        turn = 1
        while not changing.done():
            answers += await wave(turn)
            turn += 1
        await asyncio.sleep(TRUSTED_S)  # for which a refusal may still be by the schema of before
        answers += (last := await wave(turn))
        assert max(groups) > 10
        for n, answer in enumerate(answers):
            if n % 3 == 0 and answer.status_code == 422:
                assert answer.json()["errors"][0]["pointer"] == "/fields/More"
                continue
            assert answer.status_code == (200 if n % 3 else 201), answer.text
            assert answer.json()["fields"].keys() in (before, before | {"More"})
            assert n % 3 or answer.json()["fields"]["More"] == n // 3 % 20
        assert {a.status_code for a in last} == ({200, 201} if isinstance(op, AddField) else {200, 422})
        assert {"More" in a.json()["fields"] for a in last[1::3]} == {isinstance(op, AddField)}
