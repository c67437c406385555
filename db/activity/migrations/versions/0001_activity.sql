create schema activity;

create domain activity.ulid as text collate "C" check (value ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$');

create function activity.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' and current_user = 'activity_purger' then
    return old;
  end if;
  raise exception '% is append-only', tg_table_name using errcode = 'PB403';
end $$;

-- A month's partition, with the guard against TRUNCATE that partitions do not inherit.
create function activity.ensure_partitions(p_from date, p_months int) returns int
language plpgsql volatile security definer set search_path = '' as $$
declare
  parent text;
  name text;
  first_day date;
  made int := 0;
begin
  for parent in select c.relname from pg_catalog.pg_partitioned_table p join pg_catalog.pg_class c on c.oid = p.partrelid
                 where c.relnamespace = 'activity'::regnamespace order by 1 loop
    for i in 0 .. least(p_months, 60) loop
      first_day := (date_trunc('month', p_from) + make_interval(months => i))::date;
      name := parent || '_y' || to_char(first_day, 'YYYY') || 'm' || to_char(first_day, 'MM');
      if to_regclass('activity.' || quote_ident(name)) is null then
        execute format('create table activity.%I partition of activity.%I for values from (%L) to (%L)',
                       name, parent, first_day, (first_day + interval '1 month')::date);
        execute format('create trigger no_truncate before truncate on activity.%I for each statement execute function activity.refuse_change()', name);
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end $$;

create function activity.has_partition(p_parent text, p_at timestamptz) returns boolean
language sql stable set search_path = '' as $$
  select to_regclass('activity.' || p_parent || to_char(p_at at time zone 'UTC', '_"y"YYYY"m"MM')) is not null
$$;

create table activity.resource_events (
  id activity.ulid not null,
  occurred_at timestamptz not null,
  tenant_id activity.ulid not null,
  workspace_id activity.ulid,
  base_id activity.ulid,
  actor_user_id activity.ulid,
  actor_token_id activity.ulid,
  resource_type text not null,
  resource_id text not null,
  action text not null check (action ~ '^[A-Z][A-Z0-9_]{1,62}$'),
  operation_id activity.ulid,
  version bigint,
  diff_json jsonb not null default '{}',
  primary key (id, occurred_at)
) partition by range (occurred_at);
create index resource_events_time_brin on activity.resource_events using brin (occurred_at);
create index resource_events_tenant_idx on activity.resource_events (tenant_id, occurred_at desc);
create index resource_events_base_idx on activity.resource_events (tenant_id, base_id, occurred_at desc);
create index resource_events_resource_idx on activity.resource_events (resource_type, resource_id);

-- One row for every request, made by our own processes from ids that they have checked: to check them here again was
-- half of what a row cost.
create table activity.api_access_logs (
  id text collate "C" not null,
  occurred_at timestamptz not null,
  tenant_id text collate "C",
  token_id text collate "C",
  base_id text collate "C",
  route text not null,
  method text not null,
  status int not null,
  latency_ms double precision not null,
  bytes bigint not null,
  ip text,
  operation_id text collate "C",
  primary key (id, occurred_at)
) partition by range (occurred_at);
create index api_access_logs_time_brin on activity.api_access_logs using brin (occurred_at);
create index api_access_logs_tenant_idx on activity.api_access_logs (tenant_id, occurred_at desc);

create trigger append_only before update or delete on activity.resource_events for each row execute function activity.refuse_change();
create trigger no_truncate before truncate on activity.resource_events for each statement execute function activity.refuse_change();
create table activity.resource_events_late (like activity.resource_events including all);
create trigger append_only before update or delete on activity.resource_events_late for each row execute function activity.refuse_change();
create trigger no_truncate before truncate on activity.resource_events_late for each statement execute function activity.refuse_change();
create trigger append_only before update or delete on activity.api_access_logs for each row execute function activity.refuse_change();
create trigger no_truncate before truncate on activity.api_access_logs for each statement execute function activity.refuse_change();
create table activity.api_access_logs_late (like activity.api_access_logs including all);
create trigger append_only before update or delete on activity.api_access_logs_late for each row execute function activity.refuse_change();
create trigger no_truncate before truncate on activity.api_access_logs_late for each statement execute function activity.refuse_change();

-- Appends rows; one that is there already changes nothing. Where a month has no partition the batch is taken apart, and
-- that month's rows go to the late table.
create function activity.add_resource_events(p_rows jsonb) returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  insert into activity.resource_events (id, occurred_at, tenant_id, workspace_id, base_id, actor_user_id, actor_token_id, resource_type, resource_id, action, operation_id, version, diff_json)
  select r.id, r.occurred_at, r.tenant_id, r.workspace_id, r.base_id, r.actor_user_id, r.actor_token_id, r.resource_type, r.resource_id, r.action, r.operation_id, r.version, coalesce(r.diff_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, workspace_id text, base_id text, actor_user_id text, actor_token_id text, resource_type text, resource_id text, action text, operation_id text, version bigint, diff_json jsonb)
  on conflict do nothing;
exception when check_violation then
  insert into activity.resource_events (id, occurred_at, tenant_id, workspace_id, base_id, actor_user_id, actor_token_id, resource_type, resource_id, action, operation_id, version, diff_json)
  select r.id, r.occurred_at, r.tenant_id, r.workspace_id, r.base_id, r.actor_user_id, r.actor_token_id, r.resource_type, r.resource_id, r.action, r.operation_id, r.version, coalesce(r.diff_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, workspace_id text, base_id text, actor_user_id text, actor_token_id text, resource_type text, resource_id text, action text, operation_id text, version bigint, diff_json jsonb)
   where activity.has_partition('resource_events', r.occurred_at)
  on conflict do nothing;
  insert into activity.resource_events_late (id, occurred_at, tenant_id, workspace_id, base_id, actor_user_id, actor_token_id, resource_type, resource_id, action, operation_id, version, diff_json)
  select r.id, r.occurred_at, r.tenant_id, r.workspace_id, r.base_id, r.actor_user_id, r.actor_token_id, r.resource_type, r.resource_id, r.action, r.operation_id, r.version, coalesce(r.diff_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, workspace_id text, base_id text, actor_user_id text, actor_token_id text, resource_type text, resource_id text, action text, operation_id text, version bigint, diff_json jsonb)
   where not activity.has_partition('resource_events', r.occurred_at)
  on conflict do nothing;
end $$;

-- The same for every request that is made.
create function activity.add_access_logs(p_rows jsonb) returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  insert into activity.api_access_logs (id, occurred_at, tenant_id, token_id, base_id, route, method, status, latency_ms, bytes, ip, operation_id)
  select r.id, r.occurred_at, r.tenant_id, r.token_id, r.base_id, r.route, r.method, r.status, r.latency_ms, r.bytes, r.ip, r.operation_id
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, token_id text, base_id text, route text, method text, status int, latency_ms double precision, bytes bigint, ip text, operation_id text)
  on conflict do nothing;
exception when check_violation then
  insert into activity.api_access_logs (id, occurred_at, tenant_id, token_id, base_id, route, method, status, latency_ms, bytes, ip, operation_id)
  select r.id, r.occurred_at, r.tenant_id, r.token_id, r.base_id, r.route, r.method, r.status, r.latency_ms, r.bytes, r.ip, r.operation_id
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, token_id text, base_id text, route text, method text, status int, latency_ms double precision, bytes bigint, ip text, operation_id text)
   where activity.has_partition('api_access_logs', r.occurred_at)
  on conflict do nothing;
  insert into activity.api_access_logs_late (id, occurred_at, tenant_id, token_id, base_id, route, method, status, latency_ms, bytes, ip, operation_id)
  select r.id, r.occurred_at, r.tenant_id, r.token_id, r.base_id, r.route, r.method, r.status, r.latency_ms, r.bytes, r.ip, r.operation_id
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, tenant_id text, token_id text, base_id text, route text, method text, status int, latency_ms double precision, bytes bigint, ip text, operation_id text)
   where not activity.has_partition('api_access_logs', r.occurred_at)
  on conflict do nothing;
end $$;

select activity.ensure_partitions((now() - interval '1 month')::date, 4);

revoke all on all functions in schema activity from public;

grant usage on schema activity to data_api, control_api, maintenance_worker, activity_purger;
grant execute on function activity.add_access_logs(jsonb) to data_api, control_api;
grant select on activity.resource_events, activity.resource_events_late, activity.api_access_logs,
  activity.api_access_logs_late to control_api;
grant execute on function activity.add_resource_events(jsonb), activity.ensure_partitions(date, int) to maintenance_worker;
grant select (id, occurred_at, tenant_id), delete on activity.resource_events, activity.resource_events_late,
  activity.api_access_logs, activity.api_access_logs_late to activity_purger;
