create schema audit;

create domain audit.ulid as text collate "C" check (value ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$');

create function audit.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'PB403';
end $$;

-- A month's partition, with the guard against TRUNCATE that partitions do not inherit.
create function audit.ensure_partitions(p_from date, p_months int) returns int
language plpgsql volatile security definer set search_path = '' as $$
declare
  parent text;
  name text;
  first_day date;
  made int := 0;
begin
  for parent in select c.relname from pg_catalog.pg_partitioned_table p join pg_catalog.pg_class c on c.oid = p.partrelid
                 where c.relnamespace = 'audit'::regnamespace order by 1 loop
    for i in 0 .. least(p_months, 60) loop
      first_day := (date_trunc('month', p_from) + make_interval(months => i))::date;
      name := parent || '_y' || to_char(first_day, 'YYYY') || 'm' || to_char(first_day, 'MM');
      if to_regclass('audit.' || quote_ident(name)) is null then
        execute format('create table audit.%I partition of audit.%I for values from (%L) to (%L)',
                       name, parent, first_day, (first_day + interval '1 month')::date);
        execute format('create trigger no_truncate before truncate on audit.%I for each statement execute function audit.refuse_change()', name);
        made := made + 1;
      end if;
    end loop;
  end loop;
  return made;
end $$;

create function audit.has_partition(p_parent text, p_at timestamptz) returns boolean
language sql stable set search_path = '' as $$
  select to_regclass('audit.' || p_parent || to_char(p_at at time zone 'UTC', '_"y"YYYY"m"MM')) is not null
$$;

create table audit.admin_events (
  id audit.ulid not null,
  occurred_at timestamptz not null,
  actor_admin_id audit.ulid,
  tenant_id audit.ulid,
  workspace_id audit.ulid,
  ip text,
  action text not null check (action ~ '^[A-Z][A-Z0-9_]{1,62}$'),
  target_type text,
  target_id text,
  request_id audit.ulid,
  details_json jsonb not null default '{}',
  primary key (id, occurred_at)
) partition by range (occurred_at);
create index admin_events_time_brin on audit.admin_events using brin (occurred_at);
create index admin_events_time_idx on audit.admin_events (occurred_at desc);
create index admin_events_tenant_idx on audit.admin_events (tenant_id, occurred_at desc);
create index admin_events_action_idx on audit.admin_events (action, occurred_at desc);
create index admin_events_request_idx on audit.admin_events (request_id);

create table audit.security_events (
  id audit.ulid not null,
  occurred_at timestamptz not null,
  subject_user_id audit.ulid,
  ip text,
  type text not null check (type ~ '^[A-Z][A-Z0-9_]{1,62}$'),
  details_json jsonb not null default '{}',
  primary key (id, occurred_at)
) partition by range (occurred_at);
create index security_events_time_brin on audit.security_events using brin (occurred_at);
create index security_events_time_idx on audit.security_events (occurred_at desc);
create index security_events_type_idx on audit.security_events (type, occurred_at desc);

create trigger append_only before update or delete on audit.admin_events for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.admin_events for each statement execute function audit.refuse_change();
create table audit.admin_events_late (like audit.admin_events including all);
create trigger append_only before update or delete on audit.admin_events_late for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.admin_events_late for each statement execute function audit.refuse_change();
create trigger append_only before update or delete on audit.security_events for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.security_events for each statement execute function audit.refuse_change();
create table audit.security_events_late (like audit.security_events including all);
create trigger append_only before update or delete on audit.security_events_late for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.security_events_late for each statement execute function audit.refuse_change();

-- Appends rows; one that is there already changes nothing. A month without a partition goes to the late table.
create function audit.add_admin_events(p_rows jsonb) returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  insert into audit.admin_events (id, occurred_at, actor_admin_id, tenant_id, workspace_id, ip, action, target_type, target_id, request_id, details_json)
  select r.id, r.occurred_at, r.actor_admin_id, r.tenant_id, r.workspace_id, r.ip, r.action, r.target_type, r.target_id, r.request_id, coalesce(r.details_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, actor_admin_id text, tenant_id text, workspace_id text, ip text, action text, target_type text, target_id text, request_id text, details_json jsonb)
   where audit.has_partition('admin_events', r.occurred_at)
  on conflict do nothing;
  insert into audit.admin_events_late (id, occurred_at, actor_admin_id, tenant_id, workspace_id, ip, action, target_type, target_id, request_id, details_json)
  select r.id, r.occurred_at, r.actor_admin_id, r.tenant_id, r.workspace_id, r.ip, r.action, r.target_type, r.target_id, r.request_id, coalesce(r.details_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, actor_admin_id text, tenant_id text, workspace_id text, ip text, action text, target_type text, target_id text, request_id text, details_json jsonb)
   where not audit.has_partition('admin_events', r.occurred_at)
  on conflict do nothing;
end $$;

-- Appends rows; one that is there already changes nothing. A month without a partition goes to the late table.
create function audit.add_security_events(p_rows jsonb) returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  insert into audit.security_events (id, occurred_at, subject_user_id, ip, type, details_json)
  select r.id, r.occurred_at, r.subject_user_id, r.ip, r.type, coalesce(r.details_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, subject_user_id text, ip text, type text, details_json jsonb)
   where audit.has_partition('security_events', r.occurred_at)
  on conflict do nothing;
  insert into audit.security_events_late (id, occurred_at, subject_user_id, ip, type, details_json)
  select r.id, r.occurred_at, r.subject_user_id, r.ip, r.type, coalesce(r.details_json, '{}')
    from jsonb_to_recordset(p_rows) as r (id text, occurred_at timestamptz, subject_user_id text, ip text, type text, details_json jsonb)
   where not audit.has_partition('security_events', r.occurred_at)
  on conflict do nothing;
end $$;

select audit.ensure_partitions((now() - interval '1 month')::date, 4);

revoke all on all functions in schema audit from public;

grant usage on schema audit to admin_api, maintenance_worker;
grant select, insert on audit.admin_events, audit.security_events, audit.admin_events_late, audit.security_events_late to admin_api;
grant execute on function audit.add_admin_events(jsonb), audit.add_security_events(jsonb) to admin_api;
-- The maintenance worker appends what other databases' outboxes bring, and makes partitions; it reads nothing here.
grant execute on function audit.add_admin_events(jsonb), audit.ensure_partitions(date, int) to maintenance_worker;
