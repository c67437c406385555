"""Physical names: made of ids only, and quoted nowhere else."""

from core.ids import parse

MAX_BYTES = 63
"""How long a name may be: of a longer one PostgreSQL drops the rest."""


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return an id as an SQL literal, for where PostgreSQL takes no parameter."""
    return f"'{parse(text)}'"


def claims(tenant_id: str, workspace_id: str, base_id: str, role: str = "") -> str:
    """Return the literal that claims are compared with, or, without a role, that they begin with."""
    words = (*map(parse, (tenant_id, workspace_id, base_id)), role)
    if role and not role.isalpha():
        raise ValueError("a role is one word")
    return f"'{' '.join(words)}'"


def schema_name(tenant_id: str) -> str:
    """Return the name of a tenant's schema, which is its role's name too."""
    return f"tenant_{parse(tenant_id)}"


def schema(tenant_id: str) -> str:
    """Return a tenant's schema as an identifier."""
    return quoted(schema_name(tenant_id))


role = schema


def table_name(table_id: str) -> str:
    """Return the name of the physical table behind a logical one."""
    return f"t_{parse(table_id)}"


def table(tenant_id: str, table_id: str) -> str:
    """Return a physical table with its schema."""
    return f"{schema(tenant_id)}.{quoted(table_name(table_id))}"


def metadata(tenant_id: str, kind: str) -> str:
    """Return one of the metadata tables (`bases`, `tables`, `fields`, `views`, `files`) with its schema."""
    return f"{schema(tenant_id)}.{quoted(kind)}"


def column_name(field_id: str) -> str:
    """Return the name of the column that holds a field's values, which is their key in the change log too."""
    return f"f_{parse(field_id)}"


def column(field_id: str) -> str:
    """Return a field's column as an identifier."""
    return quoted(column_name(field_id))


def unique_name(field_id: str) -> str:
    """Return the name of the index that keeps a field's values unique."""
    return f"u_{parse(field_id)}"


def sequence_name(field_id: str) -> str:
    """Return the name of the sequence that numbers a table's records for a field."""
    return f"s_{parse(field_id)}"


def sequence(tenant_id: str, field_id: str) -> str:
    """Return a field's sequence with its schema."""
    return f"{schema(tenant_id)}.{quoted(sequence_name(field_id))}"


def pairs_name(field_id: str) -> str:
    """Return the name of the table that holds a link as pairs."""
    return f"l_{parse(field_id)}"


def pairs(tenant_id: str, field_id: str) -> str:
    """Return the table of a link's pairs with its schema."""
    return f"{schema(tenant_id)}.{quoted(pairs_name(field_id))}"


def pairs_key_name(field_id: str) -> str:
    """Return the name of the primary key of a link's pairs."""
    return f"k_{parse(field_id)}"


def pairs_source_name(field_id: str) -> str:
    """Return the name of the index that finds the pairs of the record that holds them."""
    return f"i_{parse(field_id)}"


def pairs_trigger_name(field_id: str, event: str) -> str:
    """Return the name of the trigger that keeps a link's pairs after an event."""
    return f"link_{event}_{parse(field_id)}"


def order_name(field_id: str) -> str:
    """Return the name of the index in the order of a field's values."""
    return f"o_{parse(field_id)}"


def required_name(field_id: str) -> str:
    """Return the name of the constraint that keeps a field from being empty."""
    return f"n_{parse(field_id)}"


def key_name(table_id: str) -> str:
    """Return the name of a table's primary key."""
    return f"p_{parse(table_id)}"


def created_name(table_id: str) -> str:
    """Return the name of the index in the order of creation."""
    return f"c_{parse(table_id)}"
