"""Pages: limits, and cursors that are opaque, signed and good for one query only."""

import base64
import hmac
import json
from typing import Annotated, Any

from fastapi import Query

from core.errors import BadRequest, Fault

DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000
_MAC_BYTES = 12
_MAX_CURSOR_CHARS = 50_000
"""Room for the longest place: 6,000 characters of sort keys, of up to six bytes each in JSON."""
_MAX_PLAIN_CURSOR_CHARS = 6_000
"""The same for lists whose order is fixed."""

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=_MAX_PLAIN_CURSOR_CHARS, description="`next_cursor` of the page before.")
]


class Cursors:
    """Writes and reads cursors under one secret; `query` is whatever must not change from page to page."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def write(self, query: str, position: Any) -> str:
        """Return the cursor that stands for `position`, a JSON value, in `query`."""
        body = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self._mac(query, body) + body).rstrip(b"=").decode()

    def read(self, query: str, cursor: str) -> Any:
        """Return the position that `cursor` stands for; refuses a broken or foreign one."""
        if len(cursor) > _MAX_CURSOR_CHARS:
            raise invalid_cursor()
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise invalid_cursor() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(query, body)):
            raise invalid_cursor()
        return json.loads(body)

    def _mac(self, query: str, body: bytes) -> bytes:
        return hmac.digest(self._secret, query.encode() + b"\0" + body, "sha256")[:_MAC_BYTES]


def invalid_cursor() -> BadRequest:
    """Return the refusal of a cursor that this query never gave out."""
    detail = "this cursor does not belong to this query; begin again without one"
    return BadRequest(detail, (Fault("cursor", "invalid_cursor", detail),), code="invalid_cursor")
