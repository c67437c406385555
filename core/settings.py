"""Every setting that a process reads, by process; only entry points import this."""

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_ENV = SettingsConfigDict(env_prefix="PLANEBASE_", env_nested_delimiter="__", extra="ignore")


class TemporalSettings(BaseSettings):
    """Where Temporal answers, and where a person reads it."""

    model_config = _ENV
    temporal_address: str = "127.0.0.1:8120"
    temporal_namespace: str = "default"
    temporal_ui: str = "http://127.0.0.1:8121"


class DataApiSettings(BaseSettings):
    """The public Data API: nothing here reaches billing, DDL, audit or Temporal."""

    model_config = _ENV
    data_host: str = "127.0.0.1"
    data_port: int = 8100
    control_dsn: SecretStr
    activity_dsn: SecretStr
    data_user: str = "data_api"
    data_password: SecretStr
    cursor_secret: SecretStr
    cursor_secret_previous: SecretStr | None = None
    cursor_max_age_s: int = Field(default=86_400, ge=1)
    pool_max_size: int = Field(default=16, ge=1, le=200)
    max_body_bytes: int = Field(default=4_000_000, ge=1_000)
    stale_auth_s: float = Field(default=60.0, ge=0)
    metrics_port: int | None = None


class ControlApiSettings(TemporalSettings):
    """The private Control API."""

    control_host: str = "127.0.0.1"
    control_port: int = 8101
    control_dsn: SecretStr
    activity_dsn: SecretStr
    alarms_dsn: SecretStr
    portal_token: SecretStr
    secret_key: SecretStr
    pool_size: int = Field(default=8, ge=1, le=100)
    webhook_allow_http: bool = False
    max_body_bytes: int = Field(default=4_000_000, ge=1_000)
    metrics_port: int | None = None


class AdminApiSettings(TemporalSettings):
    """The operators' Admin API."""

    admin_host: str = "127.0.0.1"
    admin_port: int = 8102
    control_dsn: SecretStr
    audit_dsn: SecretStr
    secret_key: SecretStr
    pool_size: int = Field(default=4, ge=1, le=100)
    session_ttl_s: int = Field(default=3_600, ge=60)
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    metrics_port: int | None = None


class QueueSettings(BaseModel):
    """The credentials of one task queue's role; what it does not need stays unset."""

    control_dsn: SecretStr
    data_user: str | None = None
    data_password: SecretStr | None = None
    activity_dsn: SecretStr | None = None
    alarms_dsn: SecretStr | None = None
    audit_dsn: SecretStr | None = None


class WorkerSettings(TemporalSettings):
    """A worker process: the queues it serves bring their own credentials."""

    schema_queue: QueueSettings | None = Field(default=None, validation_alias="PLANEBASE_SCHEMA")
    tenants: QueueSettings | None = None
    metering: QueueSettings | None = None
    billing: QueueSettings | None = None
    notify: QueueSettings | None = None
    maintenance: QueueSettings | None = None
    payments_url: str | None = None
    payments_key: SecretStr | None = None
    smtp_url: str | None = None
    secret_key: SecretStr | None = None
    mail_from: str = "planebase@localhost"
    webhook_allow_private: bool = False
    notify_delays_s: list[float] = []
    metering_interval_s: int = Field(default=3_600, ge=1)
    drain_s: int = Field(default=30, ge=1)
    pool_max_size: int = Field(default=4, ge=1)
    metrics_port: int | None = None


class DeploySettings(BaseSettings):
    """What `python -m db.deploy` needs: a superuser per server, once, before any other process starts."""

    model_config = _ENV
    control_admin_dsn: SecretStr
    data_admin_dsn: SecretStr
    audit_admin_dsn: SecretStr
    activity_admin_dsn: SecretStr
    alarms_admin_dsn: SecretStr
    role_passwords: dict[str, SecretStr]
    cluster_id: str = "local"
    cluster_host: str
    cluster_port: int = 5432
    cluster_region: str = "local"
    admin_email: str
    admin_password: SecretStr
    admin_totp_secret: SecretStr
    secret_key: SecretStr
