"""`uuid`: the id that some other system gave."""

import re
from typing import Annotated, Any

from pydantic import StringConstraints, WithJsonSchema

from core.schema.types.base import FieldType, Options
from core.schema.types.casting import Casts, Mode

_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_OTHER = re.compile(
    r"(?:urn:uuid:)?(\{)?([0-9a-f]{8})(-?)([0-9a-f]{4})\3([0-9a-f]{4})\3([0-9a-f]{4})\3([0-9a-f]{12})(?(1)\})"
)


class Uuid(FieldType[Options]):
    """A UUID of any version, in its canonical spelling: lower case, with hyphens."""

    name = "uuid"
    cast = "uuid"
    options = Options

    def storage(self, options: Options) -> str:
        """16 bytes, whose order is that of the text."""
        return "uuid"

    def annotation(self, options: Options) -> Any:
        """The one spelling of it, which is what PostgreSQL answers."""
        return Annotated[
            str,
            StringConstraints(pattern=_PATTERN),
            WithJsonSchema({"type": "string", "format": "uuid", "pattern": _PATTERN}),
        ]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """Upper case, braces, `urn:uuid:` and missing hyphens mean the same; leniently with space around."""
        if isinstance(value, str):
            found = _OTHER.fullmatch((value.strip() if mode is Mode.LENIENT else value).lower())
            if found is not None:
                yield "-".join(found.group(2, 4, 5, 6, 7)), "canonical"
