"""docker-compose.yml: it parses, commands exist, settings are read, zones are closed."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from core import settings
from db.roles import ROLES

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
SETTINGS: dict[str, type[BaseSettings]] = {
    "api.data": settings.DataApiSettings,
    "api.control": settings.ControlApiSettings,
    "api.admin": settings.AdminApiSettings,
    "workers.main": settings.WorkerSettings,
    "db.deploy": settings.DeploySettings,
}
DATABASE_HOSTS = {"control-db", "data-db", "activity-db", "audit-db", "alarms-db"}


def _module(service: dict[str, Any]) -> str:
    command = service["command"]
    assert command[:2] == ["python", "-m"]
    return str(command[2])


def _known(model: type[BaseModel], prefix: str) -> set[str]:
    """The environment variables that a settings class reads."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        variable = str(field.validation_alias or f"{prefix}{name.upper()}")
        names.add(variable)
        if settings.QueueSettings in getattr(field.annotation, "__args__", ()):
            names |= {f"{variable}__{inner.upper()}" for inner in settings.QueueSettings.model_fields}
    return names


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_exists_and_each_setting_is_read(name: str) -> None:
    module = _module(OURS[name])
    found = importlib.util.find_spec(module)
    assert found is not None, f"{name} runs {module}, which does not exist"
    if found.submodule_search_locations is not None:
        assert importlib.util.find_spec(f"{module}.__main__") is not None
    unknown = set(OURS[name]["environment"]) - _known(SETTINGS[module], "PLANEBASE_")
    assert not unknown, f"{name} passes what {module} does not read: {sorted(unknown)}"


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_process_gets_what_it_cannot_start_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in OURS[name]["environment"].items():
        text = re.sub(r"\$\{[A-Z_]+(?::[-?]([^}]*))?\}", lambda m: m.group(1) or "x", str(value))
        monkeypatch.setenv(variable, '{"data_api": "x"}' if variable.endswith("ROLE_PASSWORDS") else text)
    SETTINGS[_module(OURS[name])]()


def test_the_public_api_reaches_three_databases_and_nothing_else() -> None:
    data_api = OURS["data-api"]
    assert data_api["networks"] == ["public"]
    beside = {
        name for name, service in COMPOSE["services"].items() if "public" in service.get("networks", [])
    }
    assert beside == {"data-api", "control-db", "data-db", "activity-db"}
    text = str(data_api["environment"])
    assert not any(host in text for host in ("audit-db", "alarms-db", "temporal"))


@pytest.mark.parametrize("name", sorted(set(OURS) - {"deploy-databases"}))
def test_a_process_logs_in_as_its_own_role_where_that_role_may_connect(name: str) -> None:
    allowed = {role.name: set(role.databases) for role in ROLES if role.login}
    logins = re.findall(r"postgresql://(\w+):\$\{\w+:\?\}@[\w-]+:5432/(\w+)", str(OURS[name]["environment"]))
    assert logins
    assert len({role for role, _ in logins}) == 1
    for role, database in logins:
        assert database in allowed[role], f"{name}: {role} may not connect to {database}"


def test_every_queue_has_a_worker_and_every_database_a_container() -> None:
    queues = [
        queue
        for service in OURS.values()
        if _module(service) == "workers.main"
        for queue in service["command"][service["command"].index("--queues") + 1].split(",")
    ]
    assert sorted(queues) == ["billing", "maintenance", "metering", "notify", "schema", "tenants"]
    assert set(COMPOSE["services"]) >= DATABASE_HOSTS


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name, default in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*):-([^}]*)\}", text):
        assert default == "", f"{name} has a default"


def test_the_image_holds_every_package_that_a_command_imports() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE))
    needed = {_module(service).split(".")[0] for service in OURS.values()} | {
        "core",
        "activities",
        "workflows",
    }
    assert needed <= copied
