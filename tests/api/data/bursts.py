"""Calls that are sent at once, and what is looked at of their answers."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any

import httpx

from api.data.app import DataApi
from core import ids
from tests.api.data.world import FIELDS, Base

ODD = FIELDS[-1]["name"]
# What must not be taken for the border between two records.
BORDERS = ['"}}, \n {"id":"x"}', "a, \n b", ", \r\n ", "\\", "\\n", '"', "[]", "\u2028", "'; --", "é" * 40]
_OWN = re.compile(
    r'"[0-7][0-9a-hjkmnp-tv-z]{25}"|(?<=/)[0-7][0-9a-hjkmnp-tv-z]{25}\b|(?<=_at":)"[^"]+"|(?<=_at" : )"[^"]+"'
)
Sent = tuple[str, str, dict[str, Any]]


def key(name: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": name or ids.new()}


def noted(app: DataApi, monkeypatch: Any) -> list[int]:
    """How many calls go together from now on, each time that any do, in a Data API that has been called before."""
    met: list[int] = []
    for home in app.homes._homes.values():
        for together in (home._reads, home._pages, home._writes):
            monkeypatch.setattr(together, "_ask", _noting(together._ask, met))
    return met


def _noting(ask: Any, met: list[int]) -> Any:
    async def noting(kind: Any, items: Any) -> Any:
        met.append(len(items))
        return await ask(kind, items)

    return noting


async def burst(http: httpx.AsyncClient, calls: Iterable[Sent]) -> list[httpx.Response]:
    """Send all at once."""
    return await asyncio.gather(*(http.request(method, url, **more) for method, url, more in calls))


def told(answer: httpx.Response) -> tuple[Any, ...]:
    """What an answer says, to the byte, but for ids and times that differ from call to call."""
    headers = [
        _OWN.sub("*", answer.headers.get(name, "")) for name in ("etag", "location", "idempotency-hit")
    ]
    body = _OWN.sub('"*"', answer.text)
    return answer.status_code, *headers, json.loads(body) if answer.request.method == "DELETE" else body


async def made(http: httpx.AsyncClient, base: Base, count: int, **fields: Any) -> list[str]:
    """Ids of new records."""
    rows = [{"fields": {"Name": "old"} | fields} for _ in range(count)]
    answer = await http.post(base.path(), json={"records": rows})
    assert answer.status_code == 201, answer.text
    return [record["id"] for record in answer.json()["records"]]


def values(n: int) -> dict[str, Any]:
    """Values of every type, with what could part records in each of them."""
    text = BORDERS[n % len(BORDERS)]
    return {
        "Name": f"{n}{text}", "Note": text * n, "Count": n, "Amount": n + 0.5, "Done": n % 2 == 0,
        "Due": "2024-02-29", "At": "2024-01-01T00:00:00.5Z", "Status": "open", "Tags": ["b", "a"][: n % 3],
        "Mail": f"x{n}@b.co", "Site": f"https://a.com/{n}", "Data": {text: [text, {"a": [n, None]}], "b": "\n"},
        ODD: text,
    }  # fmt: skip
