"""The registry of operations in SQL: one small file and one line for each of core/schema/ops."""

from typing import Any

from db.data.ddl import (
    add_field,
    arrange,
    change_options,
    change_type,
    clear_required,
    clear_unique,
    create_table,
    create_view,
    drop_field,
    drop_table,
    drop_view,
    index_field,
    narrow_options,
    rename_field,
    rename_table,
    require_field,
    set_trash,
    set_unique,
    update_view,
    validate_required,
)
from db.data.ddl.base import Ddl

_ALL: tuple[Ddl[Any], ...] = (
    create_table.DDL,
    rename_table.DDL,
    set_trash.DDL,
    drop_table.DDL,
    add_field.DDL,
    rename_field.DDL,
    drop_field.DDL,
    require_field.DDL,
    validate_required.DDL,
    clear_required.DDL,
    index_field.DDL,
    set_unique.DDL,
    clear_unique.DDL,
    change_options.DDL,
    narrow_options.DDL,
    change_type.DDL,
    create_view.DDL,
    update_view.DDL,
    drop_view.DDL,
    arrange.DDL,
)

DDL: dict[str, Ddl[Any]] = {ddl.op.model_fields["kind"].default: ddl for ddl in _ALL}
"""The SQL of every operation by its kind."""
