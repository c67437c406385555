create schema alarms;

create domain alarms.ulid as text collate "C" check (value ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$');

create table alarms.quota_snapshots (
  id alarms.ulid primary key,
  captured_at timestamptz not null,
  tenant_id alarms.ulid not null,
  metric text not null check (metric in ('runs_used', 'storage_gb', 'records_count', 'api_calls')),
  value numeric(20, 6) not null,
  limit_value numeric(20, 6),
  "window" text not null,
  operation_id alarms.ulid,
  unique (tenant_id, metric, "window", captured_at)
);
create index quota_snapshots_tenant_idx on alarms.quota_snapshots (tenant_id, captured_at desc);

create table alarms.alerts (
  id alarms.ulid primary key,
  created_at timestamptz not null default now(),
  tenant_id alarms.ulid,
  kind text not null check (kind in ('RUNS_THRESHOLD', 'STORAGE_THRESHOLD', 'RECORDS_THRESHOLD', 'RATE_LIMIT',
                                     'WALLET_LOW_BALANCE', 'REFILL_FAILED', 'DELIVERY_FAILED', 'INVARIANT_BROKEN')),
  severity text not null check (severity in ('info', 'warning', 'critical')),
  dedupe_key text not null,
  status text not null default 'open' check (status in ('open', 'ack', 'resolved')),
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  times_seen bigint not null default 1,
  acked_by text,
  resolved_at timestamptz,
  operation_id alarms.ulid,
  context_json jsonb not null default '{}',
  updated_at timestamptz not null default now()
);
-- An acknowledged alert is still the same one, and the platform's own alerts have no tenant.
create unique index alerts_live_key on alarms.alerts (tenant_id, dedupe_key) nulls not distinct
  where status in ('open', 'ack');
create index alerts_tenant_status_idx on alarms.alerts (tenant_id, status);
create index alerts_dedupe_idx on alarms.alerts (dedupe_key);

-- Where a tenant wants to hear: a secret is sealed by the API that took it, never stored in clear.
create table alarms.channels (
  id alarms.ulid primary key,
  tenant_id alarms.ulid,
  channel text not null check (channel in ('email', 'webhook', 'slack', 'inapp')),
  "to" text not null,
  secret_sealed text,
  min_severity text not null default 'info' check (min_severity in ('info', 'warning', 'critical')),
  status text not null default 'active' check (status in ('active', 'disabled')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique nulls not distinct (tenant_id, channel, "to")
);

create table alarms.notifications (
  id alarms.ulid primary key,
  created_at timestamptz not null default now(),
  alert_id alarms.ulid not null references alarms.alerts (id),
  tenant_id alarms.ulid,
  channel_id alarms.ulid references alarms.channels (id),
  channel text not null check (channel in ('email', 'webhook', 'slack', 'inapp')),
  "to" text not null,
  generation int not null default 1,
  status text not null default 'pending' check (status in ('pending', 'sent', 'dead', 'read')),
  send_attempts int not null default 0,
  last_attempt_at timestamptz,
  sent_at timestamptz,
  error text,
  operation_id alarms.ulid,
  unique (alert_id, channel, "to", generation)
);
create index notifications_status_idx on alarms.notifications (status) where status = 'pending';
create index notifications_channel_idx on alarms.notifications (channel_id);
create index notifications_tenant_idx on alarms.notifications (tenant_id, created_at desc);

create table alarms.notification_attempts (
  notification_id alarms.ulid not null references alarms.notifications (id),
  attempt int not null,
  at timestamptz not null default now(),
  outcome text not null check (outcome in ('sent', 'failed', 'refused')),
  error text,
  primary key (notification_id, attempt)
);

create function alarms.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'PB403';
end $$;
create trigger append_only before update or delete on alarms.quota_snapshots
  for each row execute function alarms.refuse_change();
create trigger no_truncate before truncate on alarms.quota_snapshots
  for each statement execute function alarms.refuse_change();
create trigger append_only before update or delete on alarms.notification_attempts
  for each row execute function alarms.refuse_change();
create trigger no_truncate before truncate on alarms.notification_attempts
  for each statement execute function alarms.refuse_change();

revoke all on all functions in schema alarms from public;

grant usage on schema alarms to control_api, metering_worker, billing_worker, notify_worker, maintenance_worker;

grant select on alarms.alerts, alarms.quota_snapshots, alarms.notifications, alarms.notification_attempts,
  alarms.channels to control_api;
grant update (status, acked_by, resolved_at, updated_at) on alarms.alerts to control_api;
grant update (status) on alarms.notifications to control_api;
grant insert on alarms.channels to control_api;
grant update (status, min_severity, secret_sealed, updated_at) on alarms.channels to control_api;

grant select, insert on alarms.quota_snapshots to metering_worker;
grant select, insert on alarms.alerts, alarms.notifications to metering_worker, billing_worker, notify_worker, maintenance_worker;
grant update (severity, last_seen_at, times_seen, context_json, status, acked_by, resolved_at, updated_at) on alarms.alerts
  to metering_worker, billing_worker, notify_worker, maintenance_worker;
grant select on alarms.channels to metering_worker, billing_worker, notify_worker, maintenance_worker;
grant update (status, updated_at) on alarms.channels to notify_worker;
grant update (status, send_attempts, last_attempt_at, sent_at, error) on alarms.notifications to notify_worker;
grant select, insert on alarms.notification_attempts to notify_worker;
