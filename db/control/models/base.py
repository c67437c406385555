"""The declarative base of the Control DB and the columns that its tables share."""

from typing import Annotated, Any

from sqlalchemy import ForeignKey, Integer, text
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.sql.operators import OperatorClass
from sqlalchemy.types import UserDefinedType

from core.ids import Ulid
from db.mapping import annotations, metadata


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True
    operator_classes = OperatorClass.BASE | OperatorClass.COMPARISON

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "xid8"


class Base(DeclarativeBase):
    """The Control DB's declarative base."""

    metadata = metadata("control")
    type_annotation_map = annotations("control")


Int = Annotated[int, mapped_column(Integer)]
Zero = Annotated[int, mapped_column(server_default=text("0"))]
No = Annotated[bool, mapped_column(server_default=text("false"))]
Active = Annotated[str, mapped_column(server_default=text("'active'"))]
TenantId = Annotated[Ulid, mapped_column(ForeignKey("control.tenants.id"))]
WalletId = Annotated[Ulid, mapped_column(ForeignKey("control.wallets.id"))]
