"""What the descriptions of the routes are put together from: parameters, and references to schemas."""

from typing import Any


def parameter(where: str, name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a parameter; one in the path is required."""
    return {
        "name": name,
        "in": where,
        "description": description,
        "schema": schema,
        "required": where == "path",
    } | more


def ref(name: str) -> dict[str, Any]:
    """Return a reference to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}
