"""The three APIs as their OpenAPI documents, built without a database."""

from typing import Any

from cryptography.fernet import Fernet
from pydantic import SecretStr

from api.admin.app import create_app as admin_app
from api.control.app import create_app as control_app
from api.data.app import create_app as data_app
from core.settings import AdminApiSettings, ControlApiSettings, DataApiSettings

_NOWHERE = SecretStr("postgresql://nobody:nothing@127.0.0.1:1/none")


def openapi() -> dict[str, dict[str, Any]]:
    """Return the OpenAPI 3.1 document of each API by its name."""
    key = SecretStr(Fernet.generate_key().decode())
    word = SecretStr("unused")
    data = data_app(
        DataApiSettings(control_dsn=_NOWHERE, activity_dsn=_NOWHERE, data_password=word, cursor_secret=word)
    )
    control = control_app(
        ControlApiSettings(
            control_dsn=_NOWHERE,
            activity_dsn=_NOWHERE,
            alarms_dsn=_NOWHERE,
            portal_token=word,
            secret_key=key,
        )
    )
    admin = admin_app(AdminApiSettings(control_dsn=_NOWHERE, audit_dsn=_NOWHERE, secret_key=key))
    return {"data": data.openapi(), "control": control.openapi(), "admin": admin.openapi()}
