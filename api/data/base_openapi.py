"""A base's own OpenAPI document, and the page that shows it."""

import asyncio
import base64
import hashlib
import re
from collections import OrderedDict
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.responses import Response

from api.caller import path_id
from api.data import base_document, describe
from api.data.bases import BaseRequest, BaseRoute
from api.data.requests import JsonBytes
from db.data.catalog import Base
from db.data.homes import Claims, Home

MAX_KEPT_BYTES = 32_000_000
"""Documents are kept until their base changes, and so many bytes of them."""

_Key = tuple[str, str, int, bool]
_Made = tuple[bytes, bytes]

router = APIRouter(tags=["description"], route_class=BaseRoute)


class Documents:
    """The documents of the bases whose descriptions are read, each made once per version."""

    def __init__(self) -> None:
        self._made: OrderedDict[_Key, _Made] = OrderedDict()
        self._making: dict[_Key, asyncio.Future[_Made]] = {}
        self._bytes = 0
        self._one = asyncio.Lock()  # a large one takes a second and 100 MB while it is made

    async def of(self, general: dict[str, Any], claims: Claims, base: Base, *, writes: bool) -> _Made:
        """Return a base's document and its ETag; made beside the requests, since it may take seconds."""
        key = (claims.tenant_id, claims.base_id, base.catalog, writes)
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.ensure_future(
                self._make(general, base, claims.base_id, writes)
            )
            making.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(making)

    async def _make(self, general: dict[str, Any], base: Base, base_id: str, writes: bool) -> _Made:
        async with self._one:
            return await asyncio.to_thread(_make, general, base_id, base, writes)

    def _keep(self, key: _Key, done: "asyncio.Future[_Made]") -> None:
        del self._making[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._made[key] = done.result()
        self._bytes += len(done.result()[0])
        while self._bytes > MAX_KEPT_BYTES:
            _, (body, _) = self._made.popitem(last=False)
            self._bytes -= len(body)


@router.get("/bases/{base_id}/openapi.json", **describe.OPENAPI)
async def describe_base(request: BaseRequest) -> JsonBytes:
    """Describe the base's tables and fields and what this token may do with them, as OpenAPI 3.1.

    The ETag is that of the base's schema: with `If-None-Match` what has not changed answers 304.
    """
    await request.enter()
    request.parameters()
    documents: Documents = request.app.state.documents

    async def act(home: Home, claims: Claims, base: Base) -> _Made:
        present = await request.parts.catalog.present(home, claims, base)
        return await documents.of(request.app.openapi(), claims, present, writes=request.allowed.may_write)

    body, tag = await request.done(act)
    headers = [(b"etag", tag), (b"cache-control", b"private, no-cache")]
    given = request.brought.get(b"if-none-match", b"")
    known = [each.strip().removeprefix(b"W/") for each in given.split(b",")]
    if tag in known or b"*" in known:
        return JsonBytes(b"", 304, headers)
    return JsonBytes(body, 200, headers)


@router.get("/bases/{base_id}/docs", **describe.DOCS)
async def show_base(request: BaseRequest) -> Response:
    """Show a base's description. The page asks for the token, keeps it in memory, and loads nothing from elsewhere."""
    path_id(request.base_id, "base")
    return Response(_PAGE, 200, _PAGE_HEADERS, "text/html")


def _make(general: dict[str, Any], base_id: str, base: Base, writes: bool) -> _Made:
    version = str(base.catalog)
    body = to_json(base_document.document(general, base_id, base.tables.values(), version, writes=writes))
    # The version alone would not tell apart what two tokens may do, or two releases of ours say.
    return body, f'"c{version}-{hashlib.sha256(body).hexdigest()[:16]}"'.encode()


def _policy(page: bytes) -> str:
    """Return the policy under which nothing runs but what stands in the page, and nothing is asked but this server."""
    hashes = {}
    for kind in (b"script", b"style"):
        inner = re.findall(b"<%s>(.*?)</%s>" % (kind, kind), page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in inner]
        hashes[kind] = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; connect-src 'self'; script-src {hashes[b'script']}; style-src {hashes[b'style']};"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


_PAGE = files("api.data").joinpath("docs.html").read_bytes()
_PAGE_HEADERS = {
    "Content-Security-Policy": _policy(_PAGE),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
