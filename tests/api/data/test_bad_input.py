"""Bad input: a clear 4xx with a pointer and the nearest valid name, nothing half-written, nothing in the log."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from core import ids
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World

BODIES: list[tuple[str, bytes, int, str, str]] = [
    ("nothing", b"", 400, "", "JSON"),
    ("no JSON", b"{", 400, "", "JSON"),
    ("not UTF-8", b'{"fields":{"Name":"\xff"}}', 400, "", "unicode"),
    ("byte order mark", b'\xef\xbb\xbf{"fields":{"Name":"a"}}', 400, "", "JSON"),
    ("UTF-16", '{"fields":{"Name":"a"}}'.encode("utf-16"), 400, "", "JSON"),
    ("trailing", b'{"fields":{"Name":"a"}} x', 400, "", "JSON"),
    ("a list", b"[]", 422, "", "object"),
    ("null", b"null", 422, "", "object"),
    ("empty", b"{}", 422, "", "either"),
    ("both", b'{"fields":{"Name":"a"},"records":[{"fields":{"Name":"a"}}]}', 422, "", "either"),
    ("no records", b'{"records":[]}', 422, "/records", "at least 1"),
    ("unknown member", b'{"feilds":{"Name":"a"}}', 422, "/feilds", "'fields'"),
    ("member of an item", b'{"records":[{"fields":{"Name":"a"},"id":"x"}]}', 422, "/records/0/id", "member"),
    ("unknown field", b'{"fields":{"Nmae":"a","Name":"b"}}', 422, "/fields/Nmae", "'Name'"),
    ("pointer escapes", b'{"fields":{"Name":"a","a/b~c":1}}', 422, "/fields/a~1b~0c", "field"),
    ("system field", b'{"fields":{"Name":"a","id":"x"}}', 422, "/fields/id", "field"),
    ("required", b'{"fields":{}}', 422, "/fields/Name", "required"),
    (
        "required of many",
        b'{"records":[{"fields":{"Name":"a"}},{"fields":{}}]}',
        422,
        "/records/1/fields/Name",
        "required",
    ),
    ("null where required", b'{"fields":{"Name":null}}', 422, "/fields/Name", "string"),
    ("fields is a list", b'{"fields":[]}', 422, "/fields", "object"),
    ("wrong type", b'{"fields":{"Name":1}}', 422, "/fields/Name", "string"),
    ("NUL", b'{"fields":{"Name":"a\\u0000b"}}', 422, "/fields/Name", "match"),
    ("lone surrogate", b'{"fields":{"Name":"\\ud800"}}', 400, "", "JSON"),
    ("raw control character", b'{"fields":{"Name":"a\nb"}}', 400, "", "JSON"),
    ("too long", b'{"fields":{"Name":"%s"}}' % (b"x" * 501), 422, "/fields/Name", "500"),
    ("twice the same key", b'{"fields":{"Name":"a","Name":"b"}}', 422, "/fields/Name", "twice"),
    ("twice fields", b'{"fields":{"Name":"a"},"fields":{"Name":"b"}}', 422, "/fields", "twice"),
    ("twice inside JSON", b'{"fields":{"Name":"a","Data":{"x":1,"x":2}}}', 422, "/fields/Data/x", "twice"),
    ("escaped twice", b'{"fields":{"Name":"a","N\\u0061me":"b"}}', 422, "/fields/Name", "twice"),
    ("integer as text", b'{"fields":{"Name":"a","Count":"1"}}', 422, "/fields/Count", "integer"),
    ("integer as float", b'{"fields":{"Name":"a","Count":1.0}}', 422, "/fields/Count", "integer"),
    (
        "integer too big",
        b'{"fields":{"Name":"a","Count":9223372036854775808}}',
        422,
        "/fields/Count",
        "9223372036854775807",
    ),
    ("number of 5000 digits", b'{"fields":{"Name":"a","Count":%s}}' % (b"9" * 5000), 400, "", "JSON"),
    ("infinite", b'{"fields":{"Name":"a","Amount":1e400}}', 422, "/fields/Amount", "digits"),
    ("NaN", b'{"fields":{"Name":"a","Amount":NaN}}', 422, "/fields/Amount", "finite"),
    ("NaN inside JSON", b'{"fields":{"Name":"a","Data":[NaN]}}', 422, "/fields/Data", "finite"),
    ("too many digits", b'{"fields":{"Name":"a","Amount":0.1234567}}', 422, "/fields/Amount", "decimal"),
    ("boolean as number", b'{"fields":{"Name":"a","Done":1}}', 422, "/fields/Done", "boolean"),
    ("no such day", b'{"fields":{"Name":"a","Due":"2023-02-29"}}', 422, "/fields/Due", ""),
    ("date as number", b'{"fields":{"Name":"a","Due":20240101}}', 422, "/fields/Due", "string"),
    ("moment without zone", b'{"fields":{"Name":"a","At":"2024-01-01T00:00:00"}}', 422, "/fields/At", ""),
    ("no such choice", b'{"fields":{"Name":"a","Status":"opne"}}', 422, "/fields/Status", "open"),
    ("a choice twice", b'{"fields":{"Name":"a","Tags":["a","a"]}}', 422, "/fields/Tags", "twice"),
    ("no such tag", b'{"fields":{"Name":"a","Tags":["a","z"]}}', 422, "/fields/Tags/1", ""),
    ("no address", b'{"fields":{"Name":"a","Mail":"a"}}', 422, "/fields/Mail", ""),
    ("no web address", b'{"fields":{"Name":"a","Site":"javascript:alert(1)"}}', 422, "/fields/Site", ""),
    ("deep", b'{"fields":{"Name":"a","Data":' + b"[" * 30 + b"]" * 30 + b"}}", 422, "/fields/Data", "deep"),
    ("very deep", b'{"fields":{"Name":"a","Data":' + b"[" * 5000 + b"]" * 5000 + b"}}", 400, "", "JSON"),
    ("NUL inside JSON", b'{"fields":{"Name":"a","Data":{"\\u0000":1}}}', 422, "/fields/Data", "NUL"),
    (
        "many values",
        b'{"fields":{"Name":"a","Data":[' + b"1," * 10_001 + b"1]}}",
        422,
        "/fields/Data",
        "10000",
    ),
]


@pytest.fixture(scope="module")
async def quiet(world: World, client: Client) -> tuple[Base, httpx.AsyncClient, dict[str, Any]]:
    """A base in which nothing may happen after its one record was made."""
    base = await world.tenant()
    await base.add_table("Tasks")
    editor = client(await base.token())
    return base, editor, (await editor.post(base.path(), json={"fields": {"Name": "a"}})).json()


@pytest.mark.parametrize(
    ("body", "status", "pointer", "hint"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES]
)
async def test_a_body_is_refused_where_it_is_wrong(
    quiet: Any, world: World, body: bytes, status: int, pointer: str, hint: str
) -> None:
    base, editor, _ = quiet
    answer = await editor.post(base.path(), content=body)
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["errors"][0]["pointer"] == pointer or pointer in [e["pointer"] for e in problem["errors"]]
    assert hint in json.dumps(problem, ensure_ascii=False)
    for leak in ("psycopg", "asyncpg", "select ", "SQL", "f_0", "Traceback", "errors.pydantic"):
        assert leak not in answer.text
    assert len(await world.changes(base)) == 1


CHANGES: list[tuple[str, str, Any, int, str, str]] = [
    ("PATCH one", "/{id}", {"records": [{"id": "{id}", "fields": {}}]}, 422, "", "`fields`"),
    ("PATCH many", "", {"fields": {}}, 422, "", "`records`"),
    ("PATCH null", "/{id}", {"fields": {"Name": None}}, 422, "/fields/Name", "string"),
    ("PATCH no id", "", {"records": [{"fields": {}}]}, 422, "/records/0/id", "required"),
    ("PATCH odd id", "", {"records": [{"id": "X", "fields": {}}]}, 422, "/records/0/id", "match"),
    (
        "PATCH version 0",
        "",
        {"records": [{"id": "{id}", "fields": {}, "version": 0}]},
        422,
        "/records/0/version",
        "1",
    ),
    (
        "PATCH version x",
        "",
        {"records": [{"id": "{id}", "fields": {}, "version": "1"}]},
        422,
        "/records/0/version",
        "integer",
    ),
    ("PATCH twins", "", {"records": [{"id": "{id}", "fields": {}}] * 2}, 422, "/records/0/id", "twice"),
    ("PATCH unknown", "", {"records": [{"id": "{id}", "feilds": {}}]}, 422, "/records/0/feilds", "'fields'"),
    ("PUT required", "/{id}", {"fields": {"Count": 1}}, 422, "/fields/Name", "required"),
    (
        "PUT required of many",
        "",
        {"records": [{"id": "{id}", "fields": {}}]},
        422,
        "/records/0/fields/Name",
        "required",
    ),
]


@pytest.mark.parametrize(
    ("what", "path", "body", "status", "pointer", "hint"), CHANGES, ids=[c[0] for c in CHANGES]
)
async def test_a_change_is_refused_where_it_is_wrong(
    quiet: Any, world: World, what: str, path: str, body: Any, status: int, pointer: str, hint: str
) -> None:
    base, editor, made = quiet
    sent = json.dumps(body).replace("{id}", made["id"])
    answer = await editor.request(
        what.split()[0], base.path() + path.replace("{id}", made["id"]), content=sent
    )
    assert answer.status_code == status, answer.text
    assert pointer in [e["pointer"] for e in answer.json()["errors"]]
    assert hint in answer.text
    assert len(await world.changes(base)) == 1


@pytest.mark.parametrize(
    ("method", "suffix", "headers", "pointer"),
    [
        ("PATCH", "/{id}", {"If-Match": "v1"}, "If-Match"),
        ("PATCH", "/{id}", {"If-Match": '"v1'}, "If-Match"),
        ("PATCH", "/{id}", {"If-Match": ""}, "If-Match"),
        ("DELETE", "/{id}", {"If-Match": "1"}, "If-Match"),
        ("GET", "/{id}", {"If-None-Match": "v1"}, "If-None-Match"),
        ("PATCH", "", {"If-Match": '"v1"'}, "If-Match"),
        ("DELETE", "?id={id}", {"If-Match": '"v1"'}, "If-Match"),
        ("DELETE", "", {}, "id"),
        ("DELETE", "?id={id}&id={id}", {}, "id"),
        ("DELETE", "?" + "&".join(f"id={n}" for n in range(101)), {}, "id"),
        ("DELETE", "?ids={id}", {}, "ids"),
        ("DELETE", "/{id}?force=1", {}, "force"),
        ("POST", "?typecast=1", {}, "typecast"),
        ("GET", "/{id}?field=Name", {}, "field"),
    ],
)
async def test_a_header_or_parameter_is_refused_by_name(
    quiet: Any, method: str, suffix: str, headers: dict[str, str], pointer: str
) -> None:
    base, editor, made = quiet
    body = {} if method in ("GET", "DELETE") else {"content": b'{"fields":{"Name":"b"}}'}
    answer = await editor.request(
        method, base.path() + suffix.replace("{id}", made["id"]), headers=headers, **body
    )
    assert answer.status_code == 400, answer.text
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


async def test_bodies_are_bounded(base: Base, editor: httpx.AsyncClient, world: World) -> None:
    big = b'{"fields":{"Name":"' + b"x" * 4_000_000 + b'"}}'

    async def drops() -> Any:
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    for content in (big, drops()):
        answer = await editor.post(base.path(), content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert await world.changes(base) == []


async def test_what_is_not_there_says_so(base: Base, editor: httpx.AsyncClient) -> None:
    for method, path, status, code in (
        ("GET", "/", 404, "not_found"),
        ("GET", "/bases", 404, "not_found"),
        ("GET", base.path() + "/", 404, "not_found"),
        ("GET", f"{base.path()}/{ids.new()}/more", 404, "not_found"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("POST", f"{base.path()}/{ids.new()}", 405, "method_not_allowed"),
        ("OPTIONS", base.path(), 405, "method_not_allowed"),
        ("GET", "/openapi.yaml", 404, "not_found"),
    ):
        answer = await editor.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code != 405) or answer.headers["allow"]


async def test_a_name_is_only_ever_text(world: World, client: Client) -> None:
    """Field names that would be SQL, JSON or format strings elsewhere."""
    odd = [
        "a'; drop table x; --", "%s %(x)s {} {0}", "$1 ::text",
        'quote " quote', "back\\slash", "a.b.c", "E'\\n'", "()",
        "and", "null", "select", "😀", "x" * 100, ":named", "/*", "--", "`", "名前",
    ]  # fmt: skip
    base = await world.tenant()
    await base.add_table("Tasks", [{"name": name, "type": "text"} for name in odd])
    http = client(await base.token())
    values = {name: f"value of {name[:20]}" for name in odd}
    made = await http.post(base.path(), json={"fields": values})
    assert made.json()["fields"] == values
    many = await http.post(
        base.path(), json={"records": [{"fields": values}]}, headers={"Idempotency-Key": "k"}
    )
    assert many.json()["records"][0]["fields"] == values
    again = await http.post(
        base.path(), json={"records": [{"fields": values}]}, headers={"Idempotency-Key": "k"}
    )
    assert again.json() == many.json()
    for name in odd:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        changed = await http.patch(made.headers["location"], json={"fields": {name: name}})
        assert changed.json()["fields"][name] == name
        value = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        found = await http.get(
            base.path(), params={"filter": f"{quoted}.eq.{value}", "sort": quoted, "fields": quoted}
        )
        assert [r["fields"] for r in found.json()["records"]] == [{name: name}], found.text


async def test_a_client_that_goes_away_breaks_nothing(base: Base, editor: httpx.AsyncClient) -> None:
    """More calls than connections, half of them given up at any point: the others and the next ones are served."""
    for pause_s in (0, 0.001, 0.003, 0.01):
        tasks = [asyncio.create_task(editor.get(base.path())) for _ in range(40)]
        await asyncio.sleep(pause_s)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(a.status_code == 200 for a in answers if isinstance(a, httpx.Response))
    assert (await editor.post(base.path(), json={"fields": {"Name": "a"}})).status_code == 201
