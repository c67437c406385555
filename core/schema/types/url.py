"""`url`: a web address."""

import re
from typing import Any
from urllib.parse import quote

from core.schema.types import casting
from core.schema.types.base import Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.patterned import Patterned

# ASCII as RFC 3986 has it, so that it fits an index entry in bytes; other letters come percent-encoded.
_MAX_CHARS = 2_000  # what browsers and proxies carry
_PATTERN = r"^https?://[a-zA-Z0-9\[][!#-;=?-Z\[\]_a-z~%|]*$"

_SCHEME = re.compile("https?://", re.IGNORECASE)
# What stands in an address as it is; other characters are percent-encoded.
_PLAIN = "!#$%&'()*+,-./:;=?@[]_~|"


class Url(Patterned):
    """An http or https address of at most 2,000 ASCII characters; kept as it was written."""

    name = "url"
    max_chars = _MAX_CHARS
    pattern = _PATTERN
    format = "uri"

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """The scheme's case does not matter; leniently `www.` gets one, and odd letters `%`."""
        if not isinstance(value, str):
            return
        if (found := _SCHEME.match(value)) is not None:
            yield found.group().lower() + value[found.end() :], "scheme_case"
        if mode is not Mode.LENIENT:
            return
        yield from casting.trimmed(value, mode)
        text = value.strip()
        if len(text) > _MAX_CHARS:
            return
        if text[:4].lower() == "www.":
            text = f"https://{text}"
            yield text, "scheme_added"
        # Of a host's name it would mean another one.
        if (found := _SCHEME.match(text)) is not None and text.isprintable():
            host, slash, rest = text[found.end() :].partition("/")
            yield found.group().lower() + host + slash + quote(rest, safe=_PLAIN), "percent_encoded"
