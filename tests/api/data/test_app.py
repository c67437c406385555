"""The app around the routes: health, description, edge, and the lane that changes nothing but time."""

import json
import re
from typing import Any

import httpx
import pytest

from api.data.app import DataApi
from api.data.lane import Lane
from api.edge import Edge
from core import ids
from tests.api.data.conftest import Client
from tests.api.data.world import Base


async def test_health_asks_nobody(app: DataApi) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://data") as http:
        answer = await http.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "control_db": "heard"}


def test_the_description_is_whole(app: DataApi) -> None:
    """OpenAPI 3.1: every reference leads somewhere, every path has its parameters, every answer its shape."""
    spec = app.openapi()
    assert spec["openapi"].startswith("3.1")
    text = json.dumps(spec)
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', text):
        found: Any = spec
        for part in ref.split("/"):
            found = found[part]
    operations = {
        (method, path): operation
        for path, item in spec["paths"].items()
        for method, operation in item.items()
    }
    records = "/bases/{base_id}/tables/{table_id}/records"
    assert set(operations) == {
        ("get", "/healthz"),
        *((method, records) for method in ("get", "post", "patch", "put", "delete")),
        *((method, records + "/{record_id}") for method in ("get", "patch", "put", "delete")),
        ("post", records + "/query"),
        ("get", records + "/{record_id}/history"),
        ("post", records + "/{record_id}/restore"),
        ("get", records.removesuffix("records") + "trash"),
        *(("get", "/bases/{base_id}/" + what) for what in ("changes", "openapi.json", "docs")),
    }
    names = [operation["operationId"] for operation in operations.values()]
    assert len(names) == len(set(names))
    for (method, path), operation in operations.items():
        in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for status, answer in operation["responses"].items():
            assert answer["description"]
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"]
        if path not in ("/healthz", "/bases/{base_id}/docs"):  # these are for everybody
            assert {"401", "403", "404", "503"} <= set(operation["responses"])
            assert ("requestBody" in operation) == (method in ("post", "patch", "put"))
            keyed = "Idempotency-Key" in {p["name"] for p in operation["parameters"]}
            assert keyed == (method != "get" and not path.endswith("/query"))


async def test_every_answer_is_one_that_is_described(
    app: DataApi, base: Base, editor: httpx.AsyncClient, client: Client
) -> None:
    """Answers of every kind, checked against the description: status, headers, members."""
    spec = app.openapi()
    path, reader = base.path(), client(await base.token("records:read"))
    made = await editor.post(path, json={"fields": {"Name": "a", "Mail": "a@b.co"}})
    where, record_id = made.headers["location"], made.json()["id"]
    tag = {"If-Match": '"v9"'}
    answers = [
        made,
        await editor.post(path, json={"records": [{"fields": {"Name": "b"}}]}),
        await editor.post(path, json={"fields": {"Name": "a", "Mail": "a@b.co"}}),
        await editor.post(path, content=b"{"),
        await editor.post(path, json={"fields": {}}),
        await editor.get(path, params={"limit": 1}),
        await editor.get(path, params={"limit": 0}),
        await editor.get(path, params={"count": "exact"}),
        await editor.get(path, params={"cursor": "x"}),
        await reader.post(f"{path}/query", json={"limit": 1}),
        await reader.post(
            f"{path}/query", json={"filter": {"field": "Name", "op": "eq", "value": "a"}, "explain": True}
        ),
        await reader.post(f"{path}/query", json={"limit": 0}),
        await editor.get(where),
        await editor.get(where, headers={"If-None-Match": '"v1"'}),
        await editor.get(f"{path}/{ids.new()}"),
        await reader.put(where, json={"fields": {"Name": "a"}}),
        await editor.patch(where, json={"fields": {"Count": 1}}),
        await editor.patch(where, json={"fields": {"Count": 2}}, headers=tag),
        await editor.put(where, json={"fields": {"Name": "c"}}),
        await editor.patch(path, json={"records": [{"id": record_id, "fields": {"Count": 3}}]}),
        await editor.put(path, json={"records": [{"id": record_id, "fields": {"Name": "d"}, "version": 1}]}),
        await editor.delete(where, headers=tag),
        await editor.delete(path, params={"id": ids.new()}),
        await editor.delete(where),
        await editor.get(path, headers={"Authorization": "Bearer x"}),
    ]
    statuses = set()
    for answer in answers:
        template = "/bases/{base_id}/tables/{table_id}/records" + (
            "/{record_id}" if re.search(r"/records/\w", answer.request.url.path) else ""
        ).replace("{record_id}", "query" if answer.request.url.path.endswith("/query") else "{record_id}")
        operation = spec["paths"][template][answer.request.method.lower()]
        described = operation["responses"][str(answer.status_code)]
        statuses.add(answer.status_code)
        if answer.status_code == 304:
            continue
        content = described["content"][answer.headers["content-type"]]
        _check(answer.json(), content["schema"], spec)
    assert statuses == {200, 201, 304, 400, 401, 403, 404, 409, 410, 412, 422}


def _check(value: Any, schema: dict[str, Any], spec: dict[str, Any]) -> None:
    schemas = spec["components"]["schemas"]
    if "$ref" in schema:
        return _check(value, schemas[schema["$ref"].rpartition("/")[2]], spec)
    if "oneOf" in schema and "type" not in schema:
        required = [
            set(spec["components"]["schemas"][s["$ref"].rpartition("/")[2]]["required"])
            for s in schema["oneOf"]
        ]
        return _check(value, schema["oneOf"][[r <= set(value) for r in required].index(True)], spec)
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "null": type(None),
        "boolean": bool,
    }
    wanted = schema.get("type", "object" if isinstance(value, dict) else None)
    if wanted:
        assert isinstance(value, tuple(kinds[w] for w in ([wanted] if isinstance(wanted, str) else wanted)))
    if "pattern" in schema:
        assert re.search(schema["pattern"], value)
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema["required"]) <= set(value)
        if schema.get("additionalProperties") is False:
            assert set(value) <= set(schema["properties"])
        for name, member in value.items():
            if name in schema["properties"]:
                _check(member, schema["properties"][name], spec)
    if isinstance(value, list) and "items" in schema:
        for item in value:
            _check(item, schema["items"], spec)
    return None


async def test_the_lane_answers_as_the_framework_does(app: DataApi, base: Base) -> None:
    token = await base.token()
    beside = Edge(super(DataApi, app).__call__, max_body_bytes=4_000_000)
    assert isinstance(app._edge.app, Lane)
    record = None
    for served in (app, beside):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(served), base_url="http://data", headers=token.headers
        ) as http:
            sent = {"Idempotency-Key": "the same"}
            made = await http.post(base.path(), json={"fields": {"Name": "a"}}, headers=sent)
            record = record or made.json()
            assert (made.status_code, made.json()) == (201, record)
            for method, url, status in (
                ("GET", base.path(), 200),
                ("GET", made.headers["location"], 200),
                ("GET", f"{base.path()}/{ids.new()}", 404),
                ("GET", f"/bases/{ids.new()}/tables/{ids.new()}/records", 404),
                ("POST", f"{base.path()}/{record['id']}", 405),
                ("GET", base.path() + "?limit=x", 400),
            ):
                assert (await http.request(method, url)).status_code == status


async def test_no_answer_is_without_its_id_and_none_can_be_sniffed(
    base: Base, editor: httpx.AsyncClient
) -> None:
    seen = set()
    for method, path in (
        ("GET", base.path()),
        ("GET", "/nowhere"),
        ("PUT", "/healthz"),
        ("GET", "/openapi.json"),
    ):
        answer = await editor.request(method, path, headers={"X-Request-Id": "mine"})
        assert ids.is_ulid(answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 4


async def test_what_nobody_foresaw_is_answered_and_logged_without_its_words(
    base: Base,
    app: DataApi,
    editor: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(*_: Any) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("db.data.records.page", breaks)
    for answer in (
        await editor.get(base.path()),
        await editor.post(f"{base.path()}/query", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret of the house" not in answer.text
