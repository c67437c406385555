"""`rich_text`: prose in Markdown."""

from typing import Annotated, Any

from pydantic import WithJsonSchema

from core.schema.types.long_text import LongText, LongTextOptions


class RichText(LongText):
    """Markdown of at most `max_length` characters, kept as it was written: to render it safely is the reader's task."""

    name = "rich_text"

    def annotation(self, options: LongTextOptions) -> Any:
        """As long_text, and named in JSON Schema as what it is."""
        schema = {"type": "string", "maxLength": options.max_length, "contentMediaType": "text/markdown"}
        return Annotated[super().annotation(options), WithJsonSchema(schema)]
