"""HTTP clients as a careful developer writes them: each change has a key and is sent again until answered."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from planebase.demo.journal import Journal

_RETRIED = frozenset({502, 503, 504, 429})
_PATIENCE_S = 90.0
_POLL_S = 0.1


class DemoFailed(RuntimeError):
    """Something did not go as the platform promises; the message says what and where to look."""


@dataclass
class Api:
    """One API with one caller; anything unexpected ends the demo with a clear message."""

    base_url: str
    headers: dict[str, str]
    journal: Journal
    http: httpx.AsyncClient
    patience_s: float = _PATIENCE_S
    retries: int = field(default=0)

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Any = None,
        expect: tuple[int, ...] = (200, 201, 202, 204),
        key: str | None = None,
        headers: dict[str, str] | None = None,
        table_id: str | None = None,
    ) -> httpx.Response:
        """Send until answered; a change keeps its Idempotency-Key, so sending again cannot do it twice."""
        sent = {**self.headers, **(headers or {})}
        if method not in ("GET", "HEAD"):
            key = key or secrets.token_hex(12)
            sent["Idempotency-Key"] = key
            self.journal.write("send", key=key, method=method, path=path, json=json, params=params)
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = await self.http.request(
                    method, self.base_url + path, json=json, params=params, headers=sent
                )
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} from {self.base_url}"
            else:
                in_flight = answer.status_code == 409 and "in_flight" in answer.text
                if answer.status_code not in _RETRIED and not in_flight:
                    break
                problem = f"{answer.status_code} from {self.base_url}{path}: {answer.text[:200]}"
            if time.monotonic() > deadline:
                raise DemoFailed(f"no answer for {self.patience_s:.0f} s: {problem}")
            self.retries += 1
            await asyncio.sleep(0.2)
        if key is not None:
            self.journal.write(
                "answer", key=key, status=answer.status_code, written=_written(method, answer, table_id)
            )
        if answer.status_code not in expect:
            raise DemoFailed(
                f"{method} {path} answered {answer.status_code}, expected {expect}: {answer.text[:600]}"
            )
        return answer

    async def json(self, method: str, path: str, **kwargs: Any) -> Any:
        """The answer's JSON."""
        return (await self.call(method, path, **kwargs)).json()

    async def operation(self, answer: httpx.Response, *, state: str = "succeeded") -> dict[str, Any]:
        """Wait for the operation that a 202 names, and return it; another end than `state` fails the demo."""
        path = answer.headers["location"]
        deadline = time.monotonic() + self.patience_s
        while True:
            operation: dict[str, Any] = await self.json("GET", path)
            if operation["state"] in ("succeeded", "failed", "canceled"):
                break
            if time.monotonic() > deadline:
                raise DemoFailed(f"{path} is still {operation['state']} at step {operation['step']!r}")
            await asyncio.sleep(_POLL_S)
        if operation["state"] != state:
            raise DemoFailed(f"{path} ended {operation['state']}: {operation.get('error')}")
        return operation


def _written(method: str, answer: httpx.Response, table_id: str | None) -> list[dict[str, Any]]:
    """What a record call acknowledged: id, version and values of each row."""
    if table_id is None or answer.status_code not in (200, 201):
        return []
    body = answer.json()
    rows = body.get("records", [body])
    action = {"POST": "create", "PATCH": "update", "PUT": "update", "DELETE": "delete"}[method]
    return [
        {
            "table_id": table_id,
            "record_id": row["id"],
            "version": row["version"],
            "action": action,
            "fields": row.get("fields"),
            "operation_id": answer.headers["x-request-id"],
        }
        for row in rows
    ]
