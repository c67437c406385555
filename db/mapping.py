"""What the mappings of every database share: names of constraints, types of columns, the ULID domain."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, MetaData, Text, text
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB, TIMESTAMP
from sqlalchemy.orm import mapped_column
from sqlalchemy.sql.operators import OperatorClass

from core.ids import PATTERN, Ulid

# PostgreSQL's own names: what a migration leaves unnamed is called the same here.
_NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
}

Json = dict[str, Any]
Key = Annotated[Ulid, mapped_column(primary_key=True)]
Stamp = Annotated[datetime, mapped_column(server_default=text("now()"))]
JsonObject = Annotated[Json, mapped_column(server_default=text("'{}'::jsonb"))]


def metadata(schema: str) -> MetaData:
    """Return the metadata of one database whose tables live in `schema`."""
    return MetaData(schema=schema, naming_convention=_NAMES)


class UlidDomain(DOMAIN):
    """The domain `ulid`: text that only our ids fit in."""

    operator_classes = OperatorClass.BASE | OperatorClass.COMPARISON


def ulid(schema: str) -> UlidDomain:
    """Return the domain `ulid` of one database."""
    return UlidDomain(
        "ulid", Text(collation="C"), check=f"value ~ '{PATTERN}'", schema=schema, create_type=False
    )


def annotations(schema: str) -> dict[Any, Any]:
    """Return which column type each Python type has in one database."""
    return {
        Ulid: ulid(schema),
        str: Text(),
        int: BigInteger(),
        datetime: TIMESTAMP(timezone=True),
        Json: JSONB(),
        list[str]: None,
    }
