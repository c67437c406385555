"""`url`: a web address."""

from typing import Annotated, Any

from pydantic import StringConstraints, WithJsonSchema

from core.schema.types.base import TEXT, FieldType, Options

# ASCII as RFC 3986 has it, so that it fits an index entry in bytes; other letters come percent-encoded.
_MAX_CHARS = 2_000
_PATTERN = r"^https?://[a-zA-Z0-9\[][!#-;=?-Z\[\]_a-z~%|]*$"

_SCHEMA = {"type": "string", "format": "uri", "maxLength": _MAX_CHARS, "pattern": _PATTERN}


class Url(FieldType[Options]):
    """An http or https address of at most 2,000 ASCII characters; kept as it was written."""

    name = "url"
    cast = "text"
    options = Options

    def storage(self, options: Options) -> str:
        """Text."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """A string of an address's shape."""
        return Annotated[
            str,
            StringConstraints(max_length=_MAX_CHARS, pattern=_PATTERN),
            WithJsonSchema(_SCHEMA),
        ]

    def longest(self, options: Options) -> int:
        """What browsers and proxies carry."""
        return _MAX_CHARS
