"""Two tenants with everything that requests could reach, each base's values marked, and what is there of each."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from core import ids
from db.data import names
from tests.api.data.test_links import want
from tests.api.data.test_views import add_view
from tests.api.data.world import FIELDS, Base, Token, World

Call = Callable[[httpx.Request], Awaitable[httpx.Response]]

WRITERS = ("editor", "workspace", "base", "tenant", "write_only")
READERS = ("viewer", "read_only")
NOBODY = ("revoked", "expired")
MAY_READ = ("editor", "workspace", "base", "tenant", *READERS)
KINDS = (*WRITERS, *READERS, *NOBODY)


@dataclass
class Side:
    """A base, what is in it, and a token of every kind. Every value has `mark`, every name `name_mark`."""

    base: Base
    mark: str
    name_mark: str
    mail: str
    tokens: dict[str, Token] = field(default_factory=dict)
    reach: dict[str, frozenset[str]] = field(default_factory=dict)
    """The bases that a token of a kind may reach."""
    tasks: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    view_id: str = ""
    moment: str = ""
    """When all of it was there."""
    cursors: dict[str, str] = field(default_factory=dict)
    keyed: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    """Calls that were made with a key: key, method, path, body."""

    @property
    def id(self) -> str:
        """The base's id."""
        return str(self.base.id)

    def table(self, name: str) -> str:
        """A table's id."""
        return str(self.base.tables[name].id)

    def field(self, name: str, table: str = "Tasks") -> str:
        """A field's id."""
        return next(str(f.id) for f in self.base.tables[table].fields if f.name == name)

    @property
    def secret_name(self) -> str:
        """The name of the field that no other base has."""
        return f"Field {self.name_mark}"


async def peopled(world: World, http: httpx.AsyncClient) -> list[Side]:
    """Make two tenants, each with two workspaces, one of two bases and one of one."""
    made = []
    for _ in range(2):
        first = await world.tenant()
        beside = await world.base(first.tenant_id, first.workspace_id)
        apart = await world.base(first.tenant_id)
        sides = [await _filled(base, http) for base in (first, beside, apart)]
        for side in sides:
            await _tokens(side, sides)
        made += sides
    return made


async def _tokens(side: Side, sides: Sequence[Side]) -> None:
    base = side.base
    room = frozenset(s.id for s in sides if s.base.workspace_id == base.workspace_id)
    own, every = frozenset([side.id]), frozenset(s.id for s in sides)
    revoked = await base.token(role="editor")
    await base.world.control("update control.api_tokens set revoked_at = now() where id = $1", revoked.id)
    for kind, token, reach in (
        ("editor", await base.token(role="editor"), room),
        ("viewer", await base.token(role="viewer"), room),
        ("workspace", await base.token(workspace_id=base.workspace_id), room),
        ("base", await base.token(base_id=base.id), own),
        ("write_only", await base.token("records:write", base_id=base.id), own),
        ("read_only", await base.token("records:read", base_id=base.id), own),
        ("tenant", await base.token(), every),
        ("revoked", revoked, frozenset[str]()),
        ("expired", await base.token(expires_in_s=-1), frozenset[str]()),
    ):
        side.tokens[kind], side.reach[kind] = token, reach


async def _filled(base: Base, http: httpx.AsyncClient) -> Side:
    name_mark, mark = f"nn{secrets.token_hex(6)}", f"zz{secrets.token_hex(6)}"
    side = Side(base, mark, name_mark, f"{secrets.token_hex(6)}@example.com")
    tasks = [
        *FIELDS,
        {"name": side.secret_name, "type": "text"},
        {"name": "Owner", "type": "user"},
        {"name": "Who", "type": "link", "options": {"table": "People", "inverse": "Tasks"}},
    ]
    await want(
        base,
        [
            {"name": "People", "fields": [{"name": "Name", "type": "text"}]},
            {"name": "Tasks", "fields": tasks},
            {"name": f"Table {name_mark}", "fields": [{"name": "Name", "type": "text"}]},
        ],
    )
    view = await add_view(base, f"View {name_mark}", {"sort": "Name", "fields": ["Name"]})
    side.view_id = view.key
    http.headers["Authorization"] = (await base.token(base_id=base.id)).headers["Authorization"]
    people = await _made(http, base.path("People"), [{"Name": f"{mark} {n}"} for n in range(4)])
    row = {side.secret_name: mark, "Note": mark, "Data": {"a": mark}, "Owner": ids.new(), "Who": people[:2]}
    rows = [row | {"Name": f"{mark} {n}", "Count": n, "Status": "open"} for n in range(10)]
    rows[0] |= {"Mail": side.mail, "Site": f"https://{mark}.example.com/"}
    side.people, side.tasks = people, await _made(http, base.path(), rows)
    for n, record_id in enumerate(side.tasks[:3]):
        key, path, body = f"key {ids.new()}", f"{base.path()}/{record_id}", {"fields": {"Count": 100 + n}}
        changed = await http.patch(path, json=body, headers={"Idempotency-Key": key})
        assert changed.status_code == 200, changed.text
        side.keyed.append((key, "PATCH", path, body))
    side.trashed = side.tasks[6:8]
    gone = await http.delete(base.path(), params={"id": side.trashed})
    assert gone.status_code == 200, gone.text
    side.moment = changed.json()["updated_at"]
    for what, path, params in (
        ("list", base.path(), {"sort": "Name"}),
        ("past", base.path(), {"as_of": side.moment}),
        ("trash", base.path().removesuffix("records") + "trash", {}),
        ("history", f"{base.path()}/{side.tasks[0]}/history", {}),
        ("feed", f"/bases/{base.id}/changes", {}),
    ):
        page = await http.get(path, params=params | {"limit": 1})
        assert page.status_code == 200, page.text
        side.cursors[what] = page.json()["next_cursor"]
    del http.headers["Authorization"]
    return side


async def _made(http: httpx.AsyncClient, path: str, rows: list[dict[str, Any]]) -> list[str]:
    made = await http.post(path, json={"records": [{"fields": row} for row in rows]})
    assert made.status_code == 201, made.text
    return [record["id"] for record in made.json()["records"]]


async def fingerprints(world: World, sides: Sequence[Side], *, without_token: str) -> dict[str, str]:
    """Return a digest of all that is there of each side: tables, links, change rows, metadata, keys of other tokens."""
    found = {}
    async with world.databases.administer("data") as conn:
        for side in sides:
            base = side.base
            tables = [names.table(base.tenant_id, side.table(name)) for name in base.tables]
            tables.append(names.pairs(base.tenant_id, side.field("Who")))
            parts = [f"(select string_agg(t::text, '|' order by t::text) from {table} t)" for table in tables]
            for kind in ("bases", "tables", "fields", "views"):
                parts.append(
                    "(select string_agg(t::text, '|' order by t::text)"
                    f" from {names.metadata(base.tenant_id, kind)} t)"
                )
            parts.append(
                "(select string_agg(c::text, '|' order by c.xid, c.seq) from platform.changes c"
                " where c.tenant_id = $1 and c.base_id = $2)"
            )
            parts.append(
                "(select string_agg(i::text, '|' order by i::text) from platform.idempotency i"
                " where i.tenant_id = $1 and i.token_id <> $3)"
            )
            query = f"select md5(concat_ws('#', {', '.join(parts)}))"
            found[side.id] = await conn.fetchval(query, base.tenant_id, base.id, without_token)
    return found
