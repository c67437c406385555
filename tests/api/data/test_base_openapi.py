"""A base's own description: valid OpenAPI 3.1, true to what the API accepts and answers, and only for who may read."""

import asyncio
import base64
import hashlib
import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.data import base_openapi
from api.data.app import DataApi
from api.data.base_document import document
from core import body as bodies
from core import filter as filters
from core import ids
from core.body import Write
from core.ids import Ulid
from core.record import Field, Table, parse_projection, parse_sort
from core.schema.ops.add_field import AddField
from core.schema.ops.rename_field import RenameField
from core.schema.spec import BaseSpec, FieldSpec
from core.schema.types import TYPES
from db.data.ddl import DDL
from db.data.ddl.base import Target
from tests.api.data.conftest import Client
from tests.api.data.world import Base, World
from tests.core.schema import strategies


def of(base: Base) -> str:
    return f"/bases/{base.id}/openapi.json"


async def described(http: httpx.AsyncClient, base: Base) -> dict[str, Any]:
    answer = await http.get(of(base))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def validator(spec: dict[str, Any], name: str) -> Draft202012Validator:
    """Checks values against a schema of the document, whose references lead into it."""
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": spec["components"]})


async def test_the_description_is_valid_openapi_with_the_real_names(
    base: Base, editor: httpx.AsyncClient
) -> None:
    await base.add_table("Other things", ({"name": "A b", "type": "text"},))
    spec = await described(editor, base)
    OpenAPIV31SpecValidator(spec).validate()
    task, other = base.tables["Tasks"], base.tables["Other things"]
    assert {tag["name"]: tag["x-table-id"] for tag in spec["tags"]} == {
        "Tasks": task.id, "Other things": other.id,
    }  # fmt: skip
    assert {"get", "post", "patch", "put", "delete"} == set(spec["paths"][base.path()])
    fields = spec["components"]["schemas"][f"Fields_{task.id}"]["properties"]
    assert list(fields) == [field.name for field in task.fields]
    assert fields["Status"]["anyOf"][0]["enum"] == ["open", "todo", "doing", "done", "closed"]
    assert fields["Due"]["format"] == "date"
    assert fields["Name"]["type"] == "string"
    write = spec["components"]["schemas"][f"Fields_write_{task.id}"]
    assert write["required"] == ["Name"]
    names = [o["operationId"] for item in spec["paths"].values() for o in item.values()]
    assert len(names) == len(set(names))
    assert f"list_records_{task.id}" in names
    assert not re.findall(r"{(?!record_id|\w*_id})", " ".join(spec["paths"]))


async def test_what_is_written_and_answered_fits_the_description(
    base: Base, editor: httpx.AsyncClient
) -> None:
    spec = await described(editor, base)
    table = base.tables["Tasks"]
    create, record = validator(spec, f"Create_write_{table.id}"), validator(spec, f"Record_{table.id}")
    good = [
        {"Name": "a", "Count": 3, "Amount": 1.5, "Done": True, "Due": "2026-11-24", "Status": "open"},
        {"Name": "b", "Tags": ["a", "c"], "Mail": "a@b.co", "Site": "https://x.org/", "Data": {"x": [1]}},
        {"Name": "c", "At": "2026-11-24T12:00:00+00:00", "Note": None},
    ]
    bad = [
        {},
        {"Name": None},
        {"Name": 1},
        {"Name": "a", "Count": 1.5},
        {"Name": "a", "Status": "x"},
        {"Nam": "a"},
    ]
    for fields in good:
        answer = await editor.post(base.path(), json={"fields": fields})
        assert answer.status_code == 201
        create.validate({"fields": fields})
        record.validate(answer.json())
    for fields in bad:
        assert (await editor.post(base.path(), json={"fields": fields})).status_code == 422
        assert not create.is_valid({"fields": fields})
    page = (await editor.get(base.path())).json()
    validator(spec, f"RecordPage_{table.id}").validate(page)
    changes = (await editor.get(f"/bases/{base.id}/changes")).json()
    assert len(changes["changes"]) == 3
    validator(spec, "ChangePage").validate(changes)
    assert not validator(spec, "ChangePage").is_valid({"changes": [{}], "next_cursor": "", "has_more": False})


async def test_examples_are_calls_that_work(base: Base, editor: httpx.AsyncClient) -> None:
    """Every example in the description of a list, sent as it stands, is understood."""
    await editor.post(base.path(), json={"fields": {"Name": "a"}})
    spec = await described(editor, base)
    kept = spec["components"]["parameters"]
    listed = [kept[p["$ref"].rpartition("/")[2]] for p in spec["paths"][base.path()]["get"]["parameters"]]
    examples = {p["name"]: p["example"] for p in listed if "example" in p}
    assert {"sort", "filter", "fields"} <= set(examples)
    for name, example in examples.items():
        answer = await editor.get(base.path(), params={name: example})
        assert answer.status_code == 200, answer.text
    query = spec["paths"][base.path() + "/query"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]
    answer = await editor.post(base.path() + "/query", json=query)
    assert answer.status_code == 200, answer.text
    assert query["filter"]["field"] == "Name"
    fields = spec["components"]["schemas"][f"Fields_change_{base.tables['Tasks'].id}"]["properties"]
    values = {name: schema["examples"][0] for name, schema in fields.items()}
    answer = await editor.post(base.path(), json={"fields": values})
    assert answer.status_code == 201, answer.text


def test_every_type_is_described_as_the_check_of_a_body_has_it(app: DataApi) -> None:
    choices = {"choices": [{"name": "x"}, {"name": "y"}]}
    options: dict[str, dict[str, Any]] = {
        "single_select": choices,
        "multi_select": choices,
        "currency": {"code": "EUR"},
        "link": {"table": ids.new()},
    }
    fields = [
        Field(ids.new(), name, kind, kind.options.model_validate(options.get(name, {})))
        for name, kind in TYPES.items()
    ]
    table = Table(ids.new(), ids.new(), ids.new(), "All", 1, tuple(fields))
    spec = document(app.openapi(), table.base_id, [table], "1", writes=True)
    OpenAPIV31SpecValidator(spec).validate()
    own = spec["components"]["schemas"][f"Fields_change_{table.id}"]["properties"]
    checked = bodies.adapter(table, Write.MERGE).json_schema()["$defs"]["Fields"]
    assert checked["additionalProperties"] is False
    assert set(own) == set(checked["properties"])
    said = ("examples", "x-field-id", "x-field-type", "x-operators", "title", "default")
    for name, schema in checked["properties"].items():
        bare = {k: v for k, v in own[name].items() if k not in said}
        if isinstance(bare.get("type"), list):
            bare = {"anyOf": [bare | {"type": bare["type"][0]}, {"type": "null"}]}
        expected = {k: v for k, v in schema.items() if k not in said}
        assert bare == expected or (not bare and expected == {"anyOf": [{}, {"type": "null"}]}), name
    read = spec["components"]["schemas"][f"Fields_{table.id}"]["properties"]
    assert {name for name, schema in read.items() if schema.get("readOnly")} == {
        field.name for field in fields if not field.type.writable
    }


@settings(max_examples=30, deadline=None)
@given(strategies.bases(), st.lists(st.text(min_size=1, max_size=8), max_size=3))
def test_whatever_a_base_has_its_description_is_whole(
    app: DataApi, desired: BaseSpec, odd_names: list[str]
) -> None:
    """References lead somewhere, names are unique, and every example is understood by what it is an example of."""
    base_id, tables = ids.new(), []
    for spec in strategies.made(desired).tables:
        fields = [
            Field(
                str(f.id), f.name, TYPES[f.type], TYPES[f.type].options.model_validate(f.options), f.required
            )
            for f in spec.fields
        ]
        known = {f.name for f in fields}
        odd = [
            Field(ids.new(), name, TYPES["text"], TYPES["text"].options()) for name in set(odd_names) - known
        ]
        tables.append(Table(ids.new(), base_id, Ulid(str(spec.id)), spec.name, 1, (*odd, *fields)))
    made = document(app.openapi(), base_id, tables, "1", writes=True)
    text = json.dumps(made)
    for ref in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found: Any = made
        for part in ref.split("/"):
            found = found[part]
    assert not [path for path in made["paths"] if "{base_id}" in path or "{table_id}" in path]
    names = [o["operationId"] for item in made["paths"].values() for o in item.values()]
    assert len(names) == len(set(names))
    for table in tables:
        values = {
            name: schema["examples"][0]
            for name, schema in made["components"]["schemas"][f"Fields_change_{table.id}"][
                "properties"
            ].items()
        }
        body = json.dumps({"fields": values}).encode()
        assert set(bodies.adapter(table, Write.CREATE).validate_json(body)["fields"]) == set(values)
        parameters = made["components"]["parameters"]
        parse_sort(parameters[f"sort_{table.id}"]["example"], table)
        if table.fields:
            parse_projection(parameters[f"fields_{table.id}"]["example"], table)
            filters.parse(parameters[f"filter_{table.id}"]["example"], table)


async def test_an_etag_holds_until_the_schema_changes(base: Base, editor: httpx.AsyncClient) -> None:
    first = await editor.get(of(base))
    tag = first.headers["etag"]
    assert re.fullmatch(r'"c\d+-[0-9a-f]{16}"', tag)
    for known in (tag, f'W/{tag}, "x"', "*"):
        again = await editor.get(of(base), headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    table, field = base.tables["Tasks"], base.tables["Tasks"].fields[2]
    added = FieldSpec(id=ids.new(), name="Newer", type="integer")
    target = Target(base.tenant_id, base.workspace_id, base.id, 1, 1)
    rename = RenameField(
        pointer="", table_id=table.id, field_id=field.id, table=table.name, field=field.name, new_name="Number"
    )  # fmt: skip
    for op in (AddField(pointer="", table_id=str(table.id), table=table.name, field=added), rename):
        await base.apply(DDL[op.kind].up(op, target))  # type: ignore[attr-defined]
        changed = await editor.get(of(base), headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag
        tag = changed.headers["etag"]
    fields = changed.json()["components"]["schemas"][f"Fields_{table.id}"]["properties"]
    assert {"Newer", "Number"} <= set(fields)
    assert "Count" not in fields


async def test_only_what_the_token_reaches_is_shown(base: Base, world: World, client: Client) -> None:
    second = await world.base(base.tenant_id)
    await second.add_table("Secrets")
    spec = await described(client(await base.token()), base)
    assert "Secrets" not in json.dumps(spec)
    assert second.tables["Secrets"].id not in json.dumps(spec)
    reader = await described(client(await base.token("records:read")), base)
    OpenAPIV31SpecValidator(reader).validate()
    assert set(reader["paths"][base.path()]) == {"get"}
    assert "Fields_write_" not in json.dumps(reader)
    only_here = client(await base.token(base_id=base.id))
    assert (await only_here.get(of(second))).status_code == 404
    other = await world.tenant()
    for http, where, status in (
        (client(await other.token()), of(base), 404),
        (client(await base.token("records:write")), of(base), 403),
        (client(await base.token()), f"/bases/{ids.new()}/openapi.json", 404),
        (client(await base.token()), "/bases/nonsense/openapi.json", 404),
        (client(await base.token()), of(base) + "?a=b", 400),
    ):
        answer = await http.get(where)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    async with httpx.AsyncClient(transport=http._transport, base_url="http://data") as nobody:
        assert (await nobody.get(of(base))).status_code == 401


async def test_documents_are_made_once_and_kept_within_a_bound(
    base: Base, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = base_openapi._make

    def counted(general: Any, base_id: str, *rest: Any) -> Any:
        made.append(base_id)
        return make(general, base_id, *rest)

    monkeypatch.setattr(base_openapi, "_make", counted)
    answers = await asyncio.gather(*(editor.get(of(base)) for _ in range(20)))
    assert {a.status_code for a in answers} == {200}
    assert made == [base.id]
    monkeypatch.setattr(base_openapi, "MAX_KEPT_BYTES", 1)
    await base.add_table("More")
    for _ in range(2):
        assert (await editor.get(of(base))).status_code == 200
    assert len(made) == 3


async def test_the_page_runs_nothing_but_itself(base: Base, app: DataApi) -> None:
    """No host but this one, no script but what stands in it, no token, nothing of the base."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://data") as nobody:
        answer = await nobody.get(f"/bases/{base.id}/docs")
        assert (await nobody.get("/bases/nonsense/docs")).status_code == 404
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.findall(
        r"""(?:https?:)?//[a-z0-9]|<(?:link|img|iframe)[^>]+(?:src|href)="(?!data:)""", answer.text
    )
    assert not re.findall(r"""\son\w+=|\sstyle=|innerHTML|localStorage|document\.cookie""", answer.text)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind in ("script", "style"):
        inner = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        assert len(inner) == len(re.findall(rf"<{kind}", answer.text)) == 1
        digest = base64.b64encode(hashlib.sha256(inner[0].encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
