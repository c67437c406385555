"""Preconditions: which versions may be changed, and what a caller is told who came too late."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.data.requests import _versions
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

BIG = "12345678901234.123456"


async def changed_record(base: Base, editor: httpx.AsyncClient) -> str:
    """A record at version 3."""
    made = await editor.post(
        base.path(), json={"fields": {"Name": "one", "Count": 1, "Tags": ["a"], "At": "2024-01-01T00:00:00Z"}}
    )
    where = made.headers["location"]
    await editor.patch(where, json={"fields": {"Name": "two"}})
    content = b'{"fields":{"Name":"three","Data":{"a":[1]},"Amount":%b}}' % BIG.encode()
    await editor.patch(where, content=content)
    return where


async def test_who_came_too_late_sees_what_he_knew_what_he_sent_and_what_is_there(
    base: Base, editor: httpx.AsyncClient
) -> None:
    where = await changed_record(base, editor)
    now = (await editor.get(where)).json()
    for method in ("PATCH", "PUT"):
        content = b'{"fields":{"Name":"mine","Amount":%b}}' % BIG.encode()
        stale = await editor.request(method, where, content=content, headers={"If-Match": '"v1", "v2"'})
        assert (stale.status_code, stale.headers["etag"]) == (412, '"v3"')
        assert stale.headers["content-type"] == "application/problem+json"
        told = stale.json()
        assert (told["code"], told["version"]) == ("precondition_failed", 3)
        assert told["theirs"] == {"version": 3, "fields": now["fields"]}
        nothing = {"Name": "two", "Data": None, "Amount": None}
        assert told["base"] == {"version": 2, "fields": now["fields"] | nothing}
        assert told["yours"]["fields"]["Name"] == "mine"
        # To the last digit, on both sides.
        assert stale.text.count(BIG) == 2
    gone = await editor.delete(where, headers={"If-Match": '"v1"'})
    assert gone.status_code == 412
    assert gone.json()["base"]["fields"]["Name"] == "one"
    assert (gone.json()["theirs"]["version"], gone.json()["yours"]) == (3, None)


async def test_a_base_that_is_not_kept_is_null(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    where = await changed_record(base, editor)
    for tag in ('"v9"', '"other"', 'W/"v3"'):
        stale = await editor.patch(where, json={"fields": {"Count": 2}}, headers={"If-Match": tag})
        assert stale.status_code == 412
        assert (stale.json()["base"], stale.json()["theirs"]["version"]) == (None, 3)
    async with world.databases.administer("data") as conn:
        await conn.execute("delete from platform.changes where tenant_id = $1", base.tenant_id)
    stale = await editor.patch(where, json={"fields": {"Count": 2}}, headers={"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["base"]) == (412, None)


async def test_values_are_for_those_who_may_read_them(
    base: Base, editor: httpx.AsyncClient, client: Client
) -> None:
    where = await changed_record(base, editor)
    writer = client(await base.token("records:write"))
    stale = await writer.patch(where, json={"fields": {"Count": 2}}, headers={"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 3)
    assert not {"base", "theirs", "yours"} & set(stale.json())
    assert "three" not in stale.text


async def test_the_tags_of_all_lines_count(base: Base, editor: httpx.AsyncClient) -> None:
    where = await changed_record(base, editor)

    async def send(method: str, name: str, lines: list[str], **more: Any) -> httpx.Response:
        headers = [*editor.headers.raw, *((name.encode(), line.encode()) for line in lines)]
        return await editor.request(method, where, headers=headers, **more)

    body = {"json": {"fields": {}}}
    for lines in (['"v3"', '"v1"'], ['"v1"', '"v3"'], ['"v1", "v2"', '"x,y" , "v3"'], ["", '"v3"', ","]):
        assert (await send("PATCH", "if-match", lines, **body)).status_code == 200
        assert (await send("GET", "if-none-match", lines)).status_code == 304
    for lines in (['"v1"', '"v2"'], ['"v1,v3"', '"x"']):
        assert (await send("PATCH", "if-match", lines, **body)).status_code == 412
        assert (await send("GET", "if-none-match", lines)).status_code == 200
    for lines in (["*", '"v3"'], ["v3"], ['"v3'], ['"v3" "v2"'], [""], [","]):
        answer = await send("PATCH", "if-match", lines, **body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "If-Match")


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_a_write_does_not_take_what_is_for_reads(
    base: Base, editor: httpx.AsyncClient, world: World, method: str
) -> None:
    where = (await editor.post(base.path(), json={"fields": {"Name": "a"}})).headers["location"]
    url = base.path() if method == "POST" else where
    more: dict[str, Any] = {} if method == "DELETE" else {"json": {"fields": {"Name": "b"}}}
    answer = await editor.request(method, url, headers={"If-None-Match": "*"}, **more)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "If-None-Match")
    if method == "POST":
        answer = await editor.request(method, url, headers={"If-Match": '"v1"'}, **more)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "If-Match")
    assert len(await world.changes(base)) == 1


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("application/merge-patch+json", 201),
        ("application/vnd.api+json;x=y", 201),
        (None, 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonx", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("", 415),
    ],
)
async def test_a_body_is_json(
    base: Base, editor: httpx.AsyncClient, world: World, kind: str | None, status: int
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    made = await editor.post(base.path(), content=b'{"fields":{"Name":"a"}}', headers=headers)
    assert made.status_code == status
    if status == 415:
        assert made.json()["code"] == "unsupported_media_type"
        assert made.json()["errors"][0]["pointer"] == "Content-Type"
    assert len(await world.changes(base)) == (status == 201)


@given(
    st.lists(
        st.tuples(st.integers(1, 10**17), st.booleans(), st.sampled_from(["", " ", "\t", ",", ", ,"])),
        min_size=1,
    )
)
def test_a_list_of_tags_is_read_as_it_was_written(tags: list[tuple[int, bool, str]]) -> None:
    text = ",".join(f'{space}{"W/" if weak else ""}"v{version}"' for version, weak, space in tags).encode()
    assert _versions("If-None-Match", text, weak=True) == [version for version, _, _ in tags]
    assert _versions("If-Match", text, weak=False) == [version for version, weak, _ in tags if not weak]
