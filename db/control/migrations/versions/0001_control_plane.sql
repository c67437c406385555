create schema control;
create schema gateway;

create domain control.ulid as text collate "C" check (value ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$');

-- Who is here ---------------------------------------------------------------------------------------------

create table control.tenants (
  id control.ulid primary key,
  slug text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  name text not null check (length(name) between 1 and 200),
  region text not null,
  status text not null check (status in ('provisioning', 'active', 'suspended', 'failed', 'deleted')),
  status_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table control.workspaces (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'archived')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (tenant_id, id)
);

create table control.users (
  id control.ulid primary key,
  email text not null check (length(email) between 3 and 320),
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'disabled')),
  mfa_enabled boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index users_email_key on control.users (lower(email));

create table control.memberships (
  id control.ulid primary key,
  workspace_id control.ulid not null references control.workspaces (id),
  user_id control.ulid not null references control.users (id),
  role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index memberships_workspace_user_key on control.memberships (workspace_id, user_id);
create index memberships_user_idx on control.memberships (user_id);

create table control.bases (
  id control.ulid primary key,
  tenant_id control.ulid not null,
  workspace_id control.ulid not null,
  name text not null check (length(name) between 1 and 200),
  status text not null default 'active' check (status in ('active', 'archived')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (tenant_id, workspace_id) references control.workspaces (tenant_id, id)
);
create index bases_workspace_idx on control.bases (workspace_id);
create index bases_tenant_idx on control.bases (tenant_id);

create table control.api_tokens (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  workspace_id control.ulid references control.workspaces (id),
  base_id control.ulid references control.bases (id),
  name text not null default '' check (length(name) <= 200),
  hint text not null,
  token_hash text not null,
  scopes text[] not null check (scopes <@ array['records:read', 'records:write'] and cardinality(scopes) > 0),
  created_by_user control.ulid references control.users (id),
  expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);
create index api_tokens_tenant_idx on control.api_tokens (tenant_id);
create index api_tokens_workspace_idx on control.api_tokens (workspace_id);
create index api_tokens_base_idx on control.api_tokens (base_id);
create index api_tokens_user_idx on control.api_tokens (created_by_user);
create unique index api_tokens_hash_key on control.api_tokens (token_hash);

-- What they pay for ---------------------------------------------------------------------------------------

create table control.plans (
  id control.ulid primary key,
  code text not null unique,
  name text not null,
  tier int not null,
  monthly_runs bigint not null check (monthly_runs >= 0),
  record_cap bigint not null check (record_cap >= 0),
  storage_cap_gb numeric(12, 3) not null check (storage_cap_gb >= 0),
  features_json jsonb not null default '{}',
  price_cents bigint not null check (price_cents >= 0),
  run_price_cents_per_1000 bigint not null default 0 check (run_price_cents_per_1000 >= 0),
  created_at timestamptz not null default now()
);

create table control.subscriptions (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  plan_id control.ulid not null references control.plans (id),
  seats int not null default 1 check (seats > 0),
  period_start timestamptz not null,
  period_end timestamptz not null,
  status text not null check (status in ('active', 'canceled', 'past_due')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (period_end > period_start)
);
create unique index subscriptions_tenant_active_key on control.subscriptions (tenant_id) where status <> 'canceled';
create index subscriptions_plan_idx on control.subscriptions (plan_id);
create index subscriptions_tenant_idx on control.subscriptions (tenant_id);

create table control.usage_events (
  id control.ulid primary key,
  tenant_id control.ulid not null,
  meter text not null check (meter in ('runs', 'api_calls')),
  quantity bigint not null check (quantity >= 0),
  window_start timestamptz not null,
  operation_id control.ulid,
  created_at timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id(),
  unique (tenant_id, meter, id)
);
create index usage_events_window_idx on control.usage_events (window_start, tenant_id);
create index usage_events_xid_idx on control.usage_events (xid);

create table control.usage_counters (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  month date not null check (extract(day from month) = 1),
  runs_used bigint not null default 0,
  storage_gb_used numeric(14, 6) not null default 0,
  api_calls bigint not null default 0,
  records_count bigint not null default 0,
  runs_billed bigint not null default 0,
  updated_at timestamptz not null default now()
);
create unique index usage_counters_tenant_month_key on control.usage_counters (tenant_id, month);

create table control.wallets (
  id control.ulid primary key,
  tenant_id control.ulid not null unique references control.tenants (id),
  balance_cents bigint not null default 0 check (balance_cents >= 0),
  expires_at timestamptz,
  auto_refill_enabled boolean not null default false,
  refill_threshold_cents bigint not null default 0 check (refill_threshold_cents >= 0),
  refill_amount_cents bigint not null default 0 check (refill_amount_cents >= 0),
  payment_customer text,
  ledger_seq bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table control.wallet_ledger (
  id control.ulid primary key,
  wallet_id control.ulid not null references control.wallets (id),
  seq bigint not null,
  type text not null check (type in ('topup', 'debit', 'expire', 'adjustment')),
  amount_cents bigint not null,
  runs_delta bigint not null default 0,
  balance_after_cents bigint not null,
  ref text not null check (length(ref) between 1 and 200),
  operation_id control.ulid,
  created_at timestamptz not null default now(),
  unique (wallet_id, ref),
  unique (wallet_id, seq),
  check (case type when 'topup' then amount_cents > 0 when 'debit' then amount_cents <= 0
         when 'expire' then amount_cents <= 0 else true end)
);

create table control.refills (
  id control.ulid primary key,
  wallet_id control.ulid not null references control.wallets (id),
  amount_cents bigint not null check (amount_cents > 0),
  state text not null check (state in ('requested', 'paid', 'declined')),
  provider_ref text,
  reason text,
  operation_id control.ulid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index refills_wallet_idx on control.refills (wallet_id, created_at);

create table control.rate_limits (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  "window" text not null check ("window" in ('second', 'minute', 'hour', 'day', 'month')),
  api_limit bigint check (api_limit >= 0),
  runs_limit bigint check (runs_limit >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (tenant_id, "window")
);

-- What they have built ------------------------------------------------------------------------------------

create table control.schema_registry (
  id control.ulid primary key,
  tenant_id control.ulid not null references control.tenants (id),
  base_id control.ulid not null references control.bases (id),
  version bigint not null check (version > 0),
  ddl_hash text not null,
  spec_json jsonb not null,
  plan_json jsonb not null,
  state text not null check (state in ('applying', 'applied', 'failed')),
  operation_id control.ulid not null unique,
  created_at timestamptz not null default now(),
  applied_at timestamptz,
  unique (base_id, version)
);
create unique index schema_registry_one_applying_key on control.schema_registry (base_id) where state = 'applying';
create index schema_registry_tenant_idx on control.schema_registry (tenant_id);

-- Where they live -----------------------------------------------------------------------------------------

create table control.clusters (
  id text primary key check (id ~ '^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$'),
  host text not null,
  port int not null check (port between 1 and 65535),
  database text not null,
  region text not null,
  class text not null check (class in ('shared', 'dedicated')),
  state text not null default 'active' check (state in ('active', 'full', 'draining', 'down')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table gateway.placements (
  tenant_id control.ulid primary key references control.tenants (id),
  cluster_id text not null references control.clusters (id),
  database text not null,
  schema text not null,
  region text not null,
  state text not null check (state in ('provisioning', 'active', 'moving', 'closed')),
  generation bigint not null check (generation > 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index placements_cluster_idx on gateway.placements (cluster_id);

-- What takes time, and what leaves for other databases ------------------------------------------------------

create table control.operations (
  id control.ulid primary key,
  kind text not null,
  tenant_id control.ulid,
  base_id control.ulid,
  subject_id text not null,
  state text not null default 'queued' check (state in ('queued', 'running', 'succeeded', 'failed', 'canceled')),
  input_json jsonb not null default '{}',
  result_json jsonb,
  error_json jsonb,
  step text,
  percent int not null default 0 check (percent between 0 and 100),
  eta timestamptz,
  cancelable boolean not null default false,
  requested_by text not null,
  workflow_id text,
  run_id text,
  not_before timestamptz not null default now(),
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  updated_at timestamptz not null default now()
);
create unique index operations_one_running_key on control.operations (kind, subject_id) where state = 'running';
create index operations_queue_idx on control.operations (not_before, id) where state = 'queued';
create index operations_running_idx on control.operations (started_at) where state = 'running';
create index operations_tenant_idx on control.operations (tenant_id, id desc);
create index operations_base_idx on control.operations (base_id, id desc) where base_id is not null;

create table control.outbox (
  xid xid8 not null default pg_current_xact_id(),
  seq bigint generated always as identity,
  id control.ulid not null unique,
  destination text not null check (destination in ('activity', 'audit')),
  occurred_at timestamptz not null default now(),
  payload jsonb not null,
  primary key (xid, seq)
);
create table control.relay_cursors (
  name text primary key,
  xid xid8 not null default '0',
  seq bigint not null default 0,
  updated_at timestamptz not null default now()
);

create table control.idempotency (
  caller text not null,
  key text not null check (length(key) between 1 and 255),
  request_hash text not null,
  status int not null,
  headers jsonb not null default '{}',
  answer jsonb,
  operation_id control.ulid not null,
  created_at timestamptz not null default now(),
  primary key (caller, key)
);
create index idempotency_age_idx on control.idempotency (created_at);

-- Operators -------------------------------------------------------------------------------------------------

create table control.admins (
  id control.ulid primary key,
  email text not null,
  name text not null,
  password_hash text not null,
  totp_secret_sealed text not null,
  totp_last_step bigint not null default 0,
  failed_logins int not null default 0,
  locked_until timestamptz,
  status text not null default 'active' check (status in ('active', 'disabled')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index admins_email_key on control.admins (lower(email));

create table control.admin_sessions (
  id control.ulid primary key,
  admin_id control.ulid not null references control.admins (id),
  token_hash text not null unique,
  ip text,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index admin_sessions_admin_idx on control.admin_sessions (admin_id);

-- Money: the ledger moves the balance, nothing else can ------------------------------------------------------

create function control.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'PB403';
end $$;

create trigger wallet_ledger_append_only before update or delete on control.wallet_ledger
  for each row execute function control.refuse_change();
create trigger wallet_ledger_no_truncate before truncate on control.wallet_ledger
  for each statement execute function control.refuse_change();

create function control.post_ledger() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  wallet control.wallets;
begin
  select * into wallet from control.wallets where id = new.wallet_id for update;
  if not found then
    raise exception 'no such wallet' using errcode = 'PB404';
  end if;
  -- A repeated ref changes nothing: checked under the wallet's lock, since ON CONFLICT would come after this trigger.
  perform 1 from control.wallet_ledger where wallet_id = new.wallet_id and ref = new.ref and amount_cents = new.amount_cents;
  if found then
    return null;
  end if;
  perform 1 from control.wallet_ledger where wallet_id = new.wallet_id and ref = new.ref;
  if found then
    raise exception 'ref % was posted with another amount', new.ref using errcode = 'PB409';
  end if;
  if wallet.balance_cents + new.amount_cents < 0 then
    raise exception '% cents short', -(wallet.balance_cents + new.amount_cents) using errcode = 'PB402';
  end if;
  new.seq := wallet.ledger_seq + 1;
  new.balance_after_cents := wallet.balance_cents + new.amount_cents;
  update control.wallets
     set balance_cents = new.balance_after_cents, ledger_seq = new.seq, updated_at = now()
   where id = wallet.id;
  return new;
end $$;
create trigger wallet_ledger_post before insert on control.wallet_ledger
  for each row execute function control.post_ledger();

-- At commit: the balance is the sum of the ledger, whoever wrote it and however. The newest entry carries the sum
-- so far, and each entry is checked against the one before it, so the check costs two index look-ups.
create function control.check_balance() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  wallet control.wallets;
  newest control.wallet_ledger;
  before_cents bigint;
begin
  select * into wallet from control.wallets where id = new.id;
  if not found then
    return null;
  end if;
  select * into newest from control.wallet_ledger where wallet_id = new.id order by seq desc limit 1;
  if not found then
    if wallet.balance_cents <> 0 then
      raise exception 'wallet % holds % cents without a ledger entry', new.id, wallet.balance_cents using errcode = '23514';
    end if;
    return null;
  end if;
  select coalesce((select balance_after_cents from control.wallet_ledger
                    where wallet_id = new.id and seq = newest.seq - 1), 0) into before_cents;
  if wallet.balance_cents <> newest.balance_after_cents or wallet.ledger_seq <> newest.seq
     or before_cents + newest.amount_cents <> newest.balance_after_cents then
    raise exception 'wallet % does not equal its ledger', new.id using errcode = '23514';
  end if;
  return null;
end $$;
create constraint trigger wallets_balance_is_ledger after insert or update on control.wallets
  deferrable initially deferred for each row execute function control.check_balance();

create view control.ledger_drift with (security_invoker = true) as
  select w.id as wallet_id, w.balance_cents, coalesce(sum(l.amount_cents), 0)::bigint as ledger_cents
    from control.wallets w left join control.wallet_ledger l on l.wallet_id = w.id
   group by w.id, w.balance_cents
  having w.balance_cents <> coalesce(sum(l.amount_cents), 0);

-- Caches elsewhere hear of what they must forget -------------------------------------------------------------

create function control.tell_gateway() returns trigger language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('gateway', tg_argv[0]);
  return null;
end $$;
create trigger tokens_tell after delete or update of revoked_at, expires_at, scopes, workspace_id, base_id
  on control.api_tokens for each statement execute function control.tell_gateway('tokens');
create trigger tenants_tell after delete or update of status on control.tenants
  for each statement execute function control.tell_gateway('tenants');
create trigger memberships_tell after insert or delete or update of role on control.memberships
  for each statement execute function control.tell_gateway('memberships');
create trigger users_tell after delete or update of status on control.users
  for each statement execute function control.tell_gateway('users');
create trigger bases_tell after delete or update of status on control.bases
  for each statement execute function control.tell_gateway('bases');
create trigger placements_tell after insert or update or delete on gateway.placements
  for each statement execute function control.tell_gateway('placements');

-- What reaches the audit through the outbox is an administrator's act, whoever else may write here.
create function control.check_outbox() returns trigger language plpgsql set search_path = '' as $$
begin
  if new.destination = 'audit' and current_user not in ('admin_api', 'control_owner') then
    raise exception 'only the Admin API tells the audit' using errcode = 'PB403';
  end if;
  return new;
end $$;
create trigger outbox_audit_is_admins before insert on control.outbox
  for each row execute function control.check_outbox();

create function control.tell_starter() returns trigger language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('operations', '');
  return null;
end $$;
create trigger operations_tell after insert on control.operations
  for each statement execute function control.tell_starter();

-- Locks an idempotency key for the transaction; false where another call has it. The APIs may call no lock itself.
create function control.lock_key(p_caller text, p_key text) returns boolean
language sql volatile security definer set search_path = '' as $$
  select pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', 'control', p_caller, p_key), 1))
$$;

-- The public API's only doors --------------------------------------------------------------------------------

create function gateway.authenticate(p_token_hash text, p_base_id text)
returns table (
  token_id text, tenant_id text, tenant_status text, scopes text[], expires_at timestamptz, created_by_user text,
  base_id text, workspace_id text, role text,
  cluster_id text, host text, port int, database text, region text, placement_state text, generation bigint
) language sql stable security definer set search_path = '' as $$
  select t.id, t.tenant_id, n.status, t.scopes, t.expires_at, t.created_by_user,
         b.id, b.workspace_id,
         case
           when t.created_by_user is null or m.role in ('owner', 'admin', 'editor') then
             case when 'records:write' = any (t.scopes) then 'editor' else 'viewer' end
           when m.role = 'viewer' then 'viewer'
         end,
         p.cluster_id, c.host, c.port, p.database, p.region, p.state, p.generation
    from control.api_tokens t
    join control.tenants n on n.id = t.tenant_id
    left join control.bases b
      on b.id = p_base_id and b.tenant_id = t.tenant_id and b.status = 'active'
     and (t.workspace_id is null or t.workspace_id = b.workspace_id)
     and (t.base_id is null or t.base_id = b.id)
    left join (select x.workspace_id, x.user_id, x.role from control.memberships x
                 join control.users u on u.id = x.user_id and u.status = 'active') m
      on m.workspace_id = b.workspace_id and m.user_id = t.created_by_user
    left join gateway.placements p on p.tenant_id = t.tenant_id
    left join control.clusters c on c.id = p.cluster_id
   where t.token_hash = p_token_hash and t.revoked_at is null
     and (t.expires_at is null or t.expires_at > now())
$$;

create function gateway.limits(p_tenant_id text)
returns table ("window" text, api_limit bigint, runs_limit bigint)
language sql stable security definer set search_path = '' as $$
  select r."window", r.api_limit, r.runs_limit from control.rate_limits r where r.tenant_id = p_tenant_id
$$;

create function gateway.touch_tokens(p_rows jsonb) returns void
language sql volatile security definer set search_path = '' as $$
  update control.api_tokens t set last_used_at = greatest(t.last_used_at, r.at)
    from jsonb_to_recordset(p_rows) as r (id text, at timestamptz)
   where t.id = r.id
$$;

create function gateway.add_usage(p_rows jsonb) returns void
language sql volatile security definer set search_path = '' as $$
  insert into control.usage_events (id, tenant_id, meter, quantity, window_start, operation_id)
  select r.id, r.tenant_id, r.meter, r.quantity, r.window_start, r.operation_id
    from jsonb_to_recordset(p_rows)
      as r (id text, tenant_id text, meter text, quantity bigint, window_start timestamptz, operation_id text)
   where r.meter = 'api_calls' and r.quantity between 0 and 10000000
     and r.window_start between now() - interval '7 days' and now() + interval '1 day'
  on conflict do nothing
$$;

revoke all on all functions in schema control, gateway from public;

-- Who may do what --------------------------------------------------------------------------------------------

grant usage on schema gateway to data_api, control_api, tenants_worker, schema_worker, metering_worker, admin_api;
grant execute on function gateway.authenticate(text, text), gateway.limits(text), gateway.touch_tokens(jsonb),
  gateway.add_usage(jsonb) to data_api;

grant usage on schema control to control_api, admin_api, schema_worker, tenants_worker, metering_worker,
  billing_worker, notify_worker, maintenance_worker;

grant select on control.tenants, control.workspaces, control.bases, control.users, control.memberships, control.plans,
  control.subscriptions, control.usage_counters, control.wallets, control.wallet_ledger, control.refills,
  control.rate_limits, control.schema_registry, control.operations, control.clusters, gateway.placements
  to control_api, admin_api;
grant select on control.usage_events to control_api, metering_worker;

grant insert on control.tenants, control.workspaces, control.users, control.memberships, control.bases,
  control.subscriptions, control.operations, control.outbox, control.idempotency to control_api;
grant insert, select on control.api_tokens to control_api;
grant update (name, updated_at) on control.tenants to control_api;
grant update (name, status, updated_at) on control.workspaces, control.bases to control_api;
grant update (name, status, mfa_enabled, updated_at) on control.users to control_api;
grant update (role, updated_at), delete on control.memberships to control_api;
grant update (revoked_at, name) on control.api_tokens to control_api;
grant update (plan_id, seats, status, updated_at) on control.subscriptions to control_api;
grant update (auto_refill_enabled, refill_threshold_cents, refill_amount_cents, payment_customer, updated_at)
  on control.wallets to control_api;
grant select on control.idempotency to control_api, admin_api;
grant execute on function control.lock_key(text, text) to control_api, admin_api;
grant update (state, cancelable, ended_at, updated_at) on control.operations to control_api, admin_api;

grant select, insert on control.admin_sessions to admin_api;
grant update (revoked_at) on control.admin_sessions to admin_api;
grant select on control.admins to admin_api;
grant update (totp_last_step, failed_logins, locked_until, updated_at) on control.admins to admin_api;
grant update (status, status_reason, updated_at) on control.tenants to admin_api;
grant insert on control.wallet_ledger, control.operations, control.outbox, control.idempotency to admin_api;

grant select on control.operations to schema_worker, tenants_worker, metering_worker, billing_worker, notify_worker,
  maintenance_worker;
grant update (state, result_json, error_json, step, percent, eta, cancelable, ended_at, updated_at) on control.operations
  to schema_worker, tenants_worker, metering_worker, billing_worker, notify_worker, maintenance_worker;
grant update (workflow_id, run_id, started_at, not_before) on control.operations to maintenance_worker;
grant insert on control.operations to metering_worker, billing_worker, notify_worker, maintenance_worker;
grant insert on control.outbox to schema_worker, tenants_worker, metering_worker, billing_worker, notify_worker;

grant select on control.bases, control.tenants, control.clusters, gateway.placements to schema_worker;
grant select, insert on control.schema_registry to schema_worker;
grant update (state, applied_at) on control.schema_registry to schema_worker;

grant select on control.clusters, control.plans to tenants_worker;
grant select, insert on control.tenants, control.workspaces, control.users, control.memberships, control.subscriptions,
  control.wallets, control.rate_limits, gateway.placements to tenants_worker;
grant update (status, status_reason, updated_at) on control.tenants to tenants_worker;
grant update (state, cluster_id, database, schema, region, generation, updated_at), delete on gateway.placements to tenants_worker;
grant delete on control.wallets, control.subscriptions, control.rate_limits, control.memberships, control.workspaces to tenants_worker;

grant select on control.tenants, control.plans, control.subscriptions, control.wallets, control.clusters, control.rate_limits,
  gateway.placements to metering_worker;
grant select, insert on control.usage_counters to metering_worker;
grant update (runs_used, storage_gb_used, api_calls, records_count, updated_at) on control.usage_counters to metering_worker;
-- How far usage is counted is a cursor like a relay's; a declined refill is not repeated at once.
grant select, insert, update on control.relay_cursors to metering_worker;
grant select on control.refills to metering_worker;

grant select on control.tenants, control.plans, control.subscriptions, control.usage_counters, control.wallets to billing_worker;
grant update (runs_billed, updated_at) on control.usage_counters to billing_worker;
grant select, insert on control.wallet_ledger, control.refills to billing_worker;
-- Not to move money, which only the ledger's trigger does: FOR UPDATE asks for it.
grant update (updated_at) on control.wallets to billing_worker;
grant update (state, provider_ref, reason, updated_at) on control.refills to billing_worker;

grant select on control.tenants, control.users, control.memberships, control.workspaces to notify_worker;

grant select on control.clusters, control.tenants, control.outbox, gateway.placements to maintenance_worker;
grant usage on schema gateway to maintenance_worker;
grant select, insert, update on control.relay_cursors to maintenance_worker;
grant delete on control.outbox, control.idempotency to maintenance_worker;
grant select on control.idempotency, control.usage_events to maintenance_worker;
grant insert on control.usage_events to maintenance_worker;
grant select on control.ledger_drift, control.wallets, control.wallet_ledger to maintenance_worker;

insert into control.plans (id, code, name, tier, monthly_runs, record_cap, storage_cap_gb, features_json, price_cents, run_price_cents_per_1000)
values ('01kb0000000000000000000001', 'free', 'Free', 0, 1000, 50000, 1, '{}', 0, 40),
       ('01kb0000000000000000000002', 'team', 'Team', 1, 100000, 1000000, 20, '{}', 4900, 25),
       ('01kb0000000000000000000003', 'business', 'Business', 2, 2000000, 20000000, 500, '{}', 49000, 10);
