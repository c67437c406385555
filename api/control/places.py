"""The places that a tenant may be told at: which are possible, and what of them may be shown."""

import re
from urllib.parse import urlsplit

from core import notification
from core.errors import Fault, Invalid

MAX_CHARS = 2_000
_EMAIL = re.compile(r"^[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f.]+(\.[^@\s\x00-\x1f\x7f.]+)*$")
_INAPP = re.compile(r"^[A-Za-z0-9:_.@-]{1,200}$")


def check(channel: str, to: str, *, allow_http: bool) -> str:
    """Return the place as it is kept; Invalid, with its pointer, where nothing could be sent there."""
    if channel == "email" and not (len(to) <= 254 and _EMAIL.match(to)):
        raise _invalid("not_an_email", "this is not an e-mail address")
    if channel == "inapp" and not _INAPP.match(to):
        raise _invalid("not_a_place", "in the portal a place is a word, such as a user's id or 'all'")
    if channel in ("webhook", "slack"):
        try:
            notification.target(to, allow_private=allow_http)
        except Invalid as error:
            raise _invalid(error.reason, error.detail) from None
    return to


def shown(channel: str, to: str) -> str:
    """Return what of a place may be shown to everybody: a hook's path and query let whoever has them write."""
    if channel not in ("webhook", "slack"):
        return to
    parts = urlsplit(to)
    return f"{parts.scheme}://{parts.hostname or ''}/…"


def _invalid(code: str, words: str) -> Invalid:
    return Invalid(words, (Fault("/to", code, words),))
