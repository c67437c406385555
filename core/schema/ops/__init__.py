"""The registry of operations: a new one is a small file here, one in db/data/ddl, a line in each registry."""

from typing import Any

from core.schema.ops.add_field import AddField
from core.schema.ops.arrange import Arrange
from core.schema.ops.base import Lock, Op, Phase
from core.schema.ops.change_options import ChangeOptions
from core.schema.ops.change_type import ChangeType
from core.schema.ops.clear_required import ClearRequired
from core.schema.ops.clear_unique import ClearUnique
from core.schema.ops.create_table import CreateTable
from core.schema.ops.create_view import CreateView
from core.schema.ops.drop_field import DropField
from core.schema.ops.drop_table import DropTable
from core.schema.ops.drop_view import DropView
from core.schema.ops.index_field import IndexField
from core.schema.ops.narrow_options import NarrowOptions
from core.schema.ops.rename_field import RenameField
from core.schema.ops.rename_table import RenameTable
from core.schema.ops.require_field import RequireField
from core.schema.ops.set_trash import SetTrash
from core.schema.ops.set_unique import SetUnique
from core.schema.ops.update_view import UpdateView
from core.schema.ops.validate_required import ValidateRequired

__all__ = ["OPS", "Lock", "Op", "Phase", "load"]

_ALL: tuple[type[Op], ...] = (
    CreateTable,
    RenameTable,
    SetTrash,
    DropTable,
    AddField,
    RenameField,
    DropField,
    RequireField,
    ValidateRequired,
    ClearRequired,
    IndexField,
    SetUnique,
    ClearUnique,
    ChangeOptions,
    NarrowOptions,
    ChangeType,
    CreateView,
    UpdateView,
    DropView,
    Arrange,
)

OPS: dict[str, type[Op]] = {op.model_fields["kind"].default: op for op in _ALL}
"""Every operation by its kind."""


def load(data: Any) -> Op:
    """Return the operation that was stored as `data`; raises ValueError when it is none of ours."""
    if isinstance(data, Op):
        return data
    if not isinstance(data, dict) or data.get("kind") not in OPS:
        raise ValueError("not a stored operation")
    return OPS[data["kind"]].model_validate(data)
