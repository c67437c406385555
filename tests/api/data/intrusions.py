"""Generated requests of one base's callers that name what is another's."""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from core import ids
from tests.api.data.sides import Side

_READS = ("GET", "HEAD")
_ONE, _MANY = (
    "/bases/{base_id}/tables/{table_id}/records/{record_id}",
    "/bases/{base_id}/tables/{table_id}/records",
)
ULID = re.compile(r"\b[0-7][0-9a-hjkmnp-tv-z]{25}\b")


@dataclass
class Attempt:
    """A request. What is another's in it: `ids`, which a twin replaces by what nobody has, and `names`."""

    route: str
    path: str
    params: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    """Values of it that are unique there: were one kept here, the next one would meet it."""

    @property
    def method(self) -> str:
        """The route's method."""
        return self.route.partition(" ")[0]

    @property
    def is_write(self) -> bool:
        """Whether it would change something."""
        return self.method not in _READS and not self.route.endswith("/query")

    @property
    def base_id(self) -> str:
        """The base that the path names."""
        return self.path.split("/")[2]

    @property
    def spelled(self) -> str:
        """All that it says."""
        return f"{self.path} {self.params} {self.headers} {json.dumps(self.body)}"

    def only_what_is_said(self) -> None:
        """Forget what was drawn and not used."""
        spelled = self.spelled
        for drawn in (self.ids, self.names, self.mails):
            drawn[:] = [each for each in dict.fromkeys(drawn) if each in spelled]

    def request(self, authorization: str, base_url: str, instead: dict[str, str]) -> httpx.Request:
        """Return it as it is sent, with other ids where `instead` says so."""
        query = f"?{urlencode(self.params, quote_via=quote)}" if self.params else ""
        content = "" if self.body is None else json.dumps(self.body)
        headers = self.headers | {"Authorization": authorization}
        if content:
            headers["Content-Type"] = "application/json"
        url = self.path + query
        for given, other in instead.items():
            url, content = url.replace(given, other), content.replace(given, other)
            headers = {name: value.replace(given, other) for name, value in headers.items()}
        return httpx.Request(self.method, base_url + url, headers=headers, content=content or None)


class Generator:
    """Draws requests of `me` that mix in what is of `it`: each place by itself, at least one in every request."""

    def __init__(self, rng: random.Random, me: Side, it: Side, routes: Sequence[str]) -> None:
        self._rng = rng
        self._me = me
        self._it = it
        self._routes = routes

    def draw(self) -> Attempt:
        """Return a request that names something of the other's."""
        while True:
            made = self._drawn()
            made.only_what_is_said()
            if made.ids or made.names or made.mails:
                return made

    def _drawn(self) -> Attempt:
        rng = self._rng
        route = rng.choice(self._routes)
        made = Attempt(route, "")
        self._made = made
        self._share = rng.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 1.0))
        method, _, template = route.partition(" ")
        base = self._of(self._me.id, self._it.id)
        table_name = rng.choice(("Tasks", "Tasks", "Tasks", "People"))
        table = self._of(self._me.table(table_name), self._it.table(table_name))
        self._share = max(self._share, rng.choice((0.0, 0.0, 0.5)))
        record = self._record(table_name)
        if template.endswith("/restore"):
            record = self._of(rng.choice(self._me.trashed), rng.choice(self._it.trashed + self._it.tasks))
        made.path = template.format(base_id=base, table_id=table, record_id=record)
        self._share = rng.choice((0.3, 0.6, 1.0))
        match template.rpartition("}")[2] if template not in (_ONE, _MANY) else template:
            case "/changes":
                self._feed()
            case "/openapi.json" | "/docs":
                pass
            case "/trash":
                self._cursor("trash", 0.6)
                self._maybe("limit", "2")
            case "/history":
                self._cursor("history", 0.5)
            case "/records/query":
                self._query(table_name)
            case _ if method == "GET" and template == _MANY:
                self._list(table_name)
            case _ if method == "GET":
                self._maybe("as_of", rng.choice((self._me.moment, self._it.moment)), 0.2)
                self._maybe("fields", self._field(table_name), 0.3)
            case _:
                self._write(method, template, table_name)
        return made

    def _of(self, mine: str, its: str) -> str:
        if self._rng.random() < self._share:
            self._made.ids.append(its)
            return its
        return mine

    def _record(self, table_name: str) -> str:
        me, it = self._me, self._it
        mine, its = (me.tasks, it.tasks) if table_name == "Tasks" else (me.people, it.people)
        return self._of(self._rng.choice(mine), self._rng.choice(its))

    def _field(self, table_name: str) -> str:
        if table_name == "Tasks" and self._rng.random() < self._share:
            name = self._it.secret_name
            self._made.names.append(name)
            return name
        return "Name"

    def _maybe(self, name: str, value: str, chance: float = 0.3) -> None:
        if self._rng.random() < chance:
            self._made.params.append((name, value))

    def _cursor(self, what: str, chance: float) -> None:
        if self._rng.random() < chance:
            its = self._it.cursors[self._rng.choice((what, what, "list", "past", "trash", "history", "feed"))]
            self._made.params.append(("after" if what == "feed" else "cursor", its))
            self._made.names.append(its)

    def _view(self) -> str:
        if self._rng.random() < 0.5:
            return self._of(self._me.view_id, self._it.view_id)
        name = f"View {self._it.name_mark}"
        self._made.names.append(name)
        return name

    def _condition(self, table_name: str) -> str:
        rng = self._rng
        record = self._record(table_name)
        if table_name == "People":
            return rng.choice((f"id.eq.{record}", f"id.in.({record},{self._record('People')})"))
        person = self._record("People")
        return rng.choice(
            (
                f"id.eq.{record}",
                f"id.in.({record},{self._record('Tasks')})",
                f"Who.has_any.({person})",
                f"Who.has_all.({person},{self._record('People')})",
                f"or(Who.has_none.({person}),id.eq.{record})",
                f"Who.some.(id.eq.{person})",
                f"not(Who.every.(id.ne.{person}))",
                f"Who.some.(Tasks.some.(id.eq.{record}))",
                f"Who.none.(Tasks.has_any.({record}))",
                f"Owner.eq.{person}",
                f"{self._field('Tasks')}.is.not_null",
                f"Mail.eq.{self._mail()}",
            )
        )

    def _mail(self) -> str:
        if self._rng.random() < max(self._share, 0.5):
            # A value that may be known: whether somebody else has it must not show.
            self._made.mails.append(self._it.mail)
            return self._it.mail
        return "nobody@example.com"

    def _list(self, table_name: str) -> None:
        rng, made = self._rng, self._made
        if rng.random() < 0.15:
            made.params.append(("as_of", rng.choice((self._me.moment, self._it.moment))))
            self._cursor("past", 0.5)
            return
        if rng.random() < 0.6:
            made.params.append(("filter", self._condition(table_name)))
        self._maybe("sort", "-" + self._field(table_name), 0.2)
        self._maybe("fields", f"Name,{self._field(table_name)}", 0.2)
        if table_name == "Tasks" and rng.random() < 0.3:
            made.params.append(("view", self._view()))
        self._cursor("list", 0.2)
        if rng.random() < 0.2:
            made.headers["Accept"] = "application/x-ndjson"
            return
        self._maybe("limit", "3")
        self._maybe("count", "exact", 0.15)
        self._maybe("explain", "true", 0.15)

    def _query(self, table_name: str) -> None:
        rng, made = self._rng, self._made
        record, person = self._record(table_name), self._record("People")
        conditions: list[dict[str, Any]] = [{"field": "id", "op": "in", "value": [record]}]
        if table_name == "Tasks":
            conditions += [
                {"field": "Who", "op": "has_any", "value": [person]},
                {"field": "Who", "some": {"field": "id", "op": "eq", "value": person}},
                {"not": {"field": "Who", "every": {"field": "id", "op": "ne", "value": person}}},
                {"field": self._field("Tasks"), "op": "is", "value": "not_null"},
            ]
        made.body = {"filter": {rng.choice(("and", "or")): rng.sample(conditions, min(2, len(conditions)))}}
        if rng.random() < 0.2 and table_name == "Tasks":
            made.body["view"] = self._view()
        if rng.random() < 0.2:
            made.body["cursor"] = self._it.cursors[rng.choice(("list", "trash", "past"))]
            made.names.append(made.body["cursor"])
        if rng.random() < 0.2:
            made.body[rng.choice(("explain", "count"))] = True
            if "count" in made.body:
                made.body["count"] = "exact"

    def _feed(self) -> None:
        self._cursor("feed", 0.4)
        if self._rng.random() < 0.6:
            self._made.params.append(("tables", self._of(self._me.table("Tasks"), self._it.table("Tasks"))))
            self._maybe("fields", self._field("Tasks"), 0.3)
        self._maybe("limit", "5")

    def _values(self, table_name: str) -> dict[str, Any]:
        rng = self._rng
        values: dict[str, Any] = {"Name": "tried"}
        if table_name == "People":
            return values
        if rng.random() < 0.5:
            values["Who"] = [self._record("People") for _ in range(rng.randrange(1, 3))]
        if rng.random() < 0.2:
            values["Owner"] = self._of(ids.new(), self._it.tokens["editor"].user_id or "")
        if rng.random() < 0.25:
            values["Mail"] = self._mail()
        if rng.random() < 0.15:
            values[self._field("Tasks")] = "tried"
        return values

    def _write(self, method: str, template: str, table_name: str) -> None:
        rng, made = self._rng, self._made
        if rng.random() < 0.5:
            if rng.random() < 0.4:
                key, _, _, _ = rng.choice(self._it.keyed)
                made.headers["Idempotency-Key"] = key
                made.ids.append(key.removeprefix("key "))
            else:
                made.headers["Idempotency-Key"] = f"key {ids.new()}"
        if rng.random() < 0.3 and template == _ONE:
            made.headers["If-Match"] = f'"v{rng.randrange(1, 4)}"'
        if template.endswith("/restore"):
            made.body = rng.choice((None, {"fields": self._values(table_name)}))
        elif template == _ONE:
            if method == "PATCH" and rng.random() < 0.15:
                key, _, made.path, made.body = rng.choice(self._it.keyed)
                made.headers = {"Idempotency-Key": key}
                made.ids = [*ULID.findall(made.path), key.removeprefix("key ")]
            elif method != "DELETE":
                made.body = {"fields": self._values(table_name)}
        else:
            self._write_many(method, table_name)

    def _write_many(self, method: str, table_name: str) -> None:
        rng, made = self._rng, self._made
        if method in ("PATCH", "DELETE") and rng.random() < 0.3:
            made.params = [("filter", self._condition(table_name)), ("max-affected", "50")]
            if method == "PATCH":
                made.body = {"fields": {"Name": "tried"}}
            return
        self._maybe("mode", "per_row", 0.4)
        count = rng.randrange(1, 4)
        if method == "DELETE":
            records = dict.fromkeys(self._record(table_name) for _ in range(count))
            made.params += [("id", record) for record in records]
            return
        rows: list[dict[str, Any]] = [{"fields": self._values(table_name)} for _ in range(count)]
        if method == "POST":
            if table_name == "Tasks" and rng.random() < 0.3:
                made.params.append(("upsert", "Mail"))
                rows = [row | {"fields": row["fields"] | {"Mail": self._mail()}} for row in rows[:1]]
        else:
            chosen = dict.fromkeys(self._record(table_name) for _ in range(count))
            rows = [{"id": record} | row for record, row in zip(chosen, rows, strict=False)]
        made.body = {"records": rows}
