"""What each process is given: all that its settings need, and nothing that its role may not reach."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from core import settings
from db.roles import LOGINS
from planebase.child import Spec, bound_log, open_log
from planebase.services import QUEUES, Services
from planebase.state import DataDir, Ports


@pytest.fixture
def services(tmp_path: Path) -> Services:
    data_dir = DataDir(tmp_path)
    return Services(data_dir, Ports(8100), data_dir.complete_secrets(LOGINS))


def read(kind: type[BaseSettings], spec: Spec, monkeypatch: pytest.MonkeyPatch) -> BaseSettings:
    for name, value in spec.env.items():
        monkeypatch.setenv(name, value)
    return kind()


def users(env: Mapping[str, str]) -> set[str]:
    """The roles whose credentials are in `env`."""
    return {value.split("//")[1].split(":")[0] for value in env.values() if value.startswith("postgresql://")}


@pytest.mark.parametrize(
    ("process", "kind", "role"),
    [
        ("data_api", settings.DataApiSettings, "data_api"),
        ("control_api", settings.ControlApiSettings, "control_api"),
        ("admin_api", settings.AdminApiSettings, "admin_api"),
    ],
)
def test_an_api_gets_its_own_role_and_only_settings_that_it_reads(
    services: Services, monkeypatch: pytest.MonkeyPatch, process: str, kind: type[BaseSettings], role: str
) -> None:
    spec: Spec = getattr(services, process)()
    read(kind, spec, monkeypatch)
    assert users(spec.env) == {role}
    fields = {f"PLANEBASE_{name.upper()}" for name in kind.model_fields}
    assert set(spec.env) <= fields


def test_the_public_api_has_no_way_to_temporal_audit_or_alarms(services: Services) -> None:
    text = " ".join([*services.data_api().env, *services.data_api().env.values()]).lower()
    for word in ("temporal", "audit", "alarms", "portal", "secret_key", "owner", "postgres@"):
        assert word not in text


def test_each_queue_of_the_worker_has_its_own_roles_credentials(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = services.worker()
    read(settings.WorkerSettings, spec, monkeypatch)
    for queue in QUEUES:
        mine = {
            name: value for name, value in spec.env.items() if name.startswith(f"PLANEBASE_{queue.upper()}__")
        }
        assert users(mine) == {f"{queue}_worker"}


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    first = DataDir(tmp_path).complete_secrets(("one",))
    second = DataDir(tmp_path).complete_secrets(("one", "another"))
    assert second["passwords"]["one"] == first["passwords"]["one"]
    assert second["admin"] == first["admin"]
    assert second["passwords"]["another"]


def test_a_log_that_has_grown_is_set_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    writer = open_log(log)
    os.write(writer, b"old" * 100)
    bound_log(log, max_bytes=200)
    os.write(writer, b"new")
    os.close(writer)
    assert log.read_bytes() == b"new"
    assert (tmp_path / "some.log.1").read_bytes() == b"old" * 100
