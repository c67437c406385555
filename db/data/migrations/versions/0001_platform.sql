create schema platform;

create domain platform.ulid as text collate "C" check (value ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$');

-- Which cluster this is: the origin of every change written here.
create table platform.identity (
  one boolean primary key default true check (one),
  cluster_id text not null,
  -- How long the change log is kept here, at the least: whoever lets go of it leaves what is younger.
  changes_kept_days int not null default 90 check (changes_kept_days between 1 and 3650),
  -- What changed before was let go. No setting brings it back.
  changes_since timestamptz not null default '-infinity'
);

-- One row per tenant that lives or lived here; in no publication.
create table platform.fences (
  tenant_id platform.ulid primary key,
  generation bigint not null check (generation > 0),
  state text not null check (state in ('open', 'closed')),
  catalog_version bigint not null default 1,
  template_version int not null default 1,
  updated_at timestamptz not null default now()
) with (fillfactor = 70);

-- The ledger of schema applications: a step is written here in the transaction of its DDL.
create table platform.schema_steps (
  tenant_id platform.ulid not null,
  operation_id platform.ulid not null,
  step int not null,
  kind text not null,
  state text not null check (state in ('started', 'done', 'undone')),
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  primary key (tenant_id, operation_id, step)
);

create sequence platform.changes_seq cache 32;

-- The change log. Plain text ids, not the domain: a publication's row filter refuses user-defined types. Nor are they
-- checked again, which costs more than an index entry: whoever writes was checked when he entered, records by their
-- table, and the others are the triggers' own.
create table platform.changes (
  tenant_id text collate "C" not null,
  generation bigint not null,
  xid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('platform.changes_seq'),
  changed_at timestamptz not null default now(),
  origin text not null,
  workspace_id text collate "C" not null,
  base_id text collate "C" not null,
  table_id text collate "C" not null,
  record_id text collate "C" not null,
  version bigint not null,
  action text not null check (action in ('create', 'update', 'delete', 'restore')),
  before jsonb,
  after jsonb,
  schema_version bigint,
  actor_id text collate "C",
  token_id text collate "C",
  operation_id text collate "C",
  -- In the order of a base's feed. The base stands in the key, not in an index of its own: measured, that index cost
  -- 14 % more WAL for each change, the wider key 1 to 3 %.
  primary key (tenant_id, base_id, generation, xid, seq, changed_at)
) partition by range (changed_at);
-- `changed_at` is there to be compared without fetching the row: a record may have thousands of versions.
create index changes_record_idx on platform.changes (tenant_id, table_id, record_id, version, changed_at);
-- The trash, newest first, and, by id, what has been deleted since a moment in the past. (Only a deletion leaves
-- nothing after it. Said in two ways, so that each of the two reads can only take the index that has its order: of
-- how many rows a policy lets through the planner knows too little to choose.)
create index changes_trash_idx on platform.changes (tenant_id, table_id, changed_at, record_id) where action = 'delete';
create index changes_deleted_idx on platform.changes (tenant_id, table_id, record_id, changed_at) where after is null;
create index changes_relay_idx on platform.changes (xid, seq);

alter table platform.changes enable row level security;
alter table platform.changes force row level security;

create table platform.relay_cursors (
  name text primary key,
  xid xid8 not null default '0',
  seq bigint not null default 0,
  updated_at timestamptz not null default now()
);

create table platform.idempotency (
  tenant_id text collate "C" not null check (tenant_id ~ '^[0-7][0-9a-hjkmnp-tv-z]{25}$'),
  token_id text collate "C" not null,
  key text collate "C" not null check (length(key) between 1 and 255),
  request_hash text not null,
  operation_id text collate "C" not null,
  status int not null,
  answer jsonb not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, token_id, key)
);
create index idempotency_age_idx on platform.idempotency (created_at);

-- Partitions -------------------------------------------------------------------------------------------------

create function platform.ensure_partitions(p_from date, p_months int) returns int
language plpgsql volatile security definer set search_path = '' as $$
declare
  first_day date;
  made int := 0;
  name text;
begin
  for i in 0 .. least(p_months, 60) loop
    first_day := (date_trunc('month', p_from) + make_interval(months => i))::date;
    name := 'changes_y' || to_char(first_day, 'YYYY') || 'm' || to_char(first_day, 'MM');
    if to_regclass('platform.' || name) is null then
      execute format('create table platform.%I partition of platform.changes for values from (%L) to (%L)'
                     -- Nothing here is ever changed, so that a vacuum would only write each new page again.
                     ' with (autovacuum_vacuum_insert_threshold = 10000000)',
                     name, first_day, (first_day + interval '1 month')::date);
      execute format('alter table platform.%I enable row level security', name);
      execute format('alter table platform.%I force row level security', name);
      made := made + 1;
    end if;
  end loop;
  return made;
end $$;
select platform.ensure_partitions((now() - interval '1 month')::date, 4);

-- Drops a month of the change log that nobody needs: answers 'dropped' or 'absent', or what still needs it. The log
-- goes from its beginning, without holes: the trash, the past and the feed all take it that what came later is there.
-- Everything is looked up in indexes, the last of it while writers wait.
create function platform.drop_partition(p_month date) returns text
language plpgsql volatile security definer set search_path = '' set enable_seqscan = off as $$
declare
  name text := 'changes_y' || to_char(p_month, 'YYYY') || 'm' || to_char(p_month, 'MM');
  over timestamptz := (date_trunc('month', p_month::timestamp) + interval '1 month') at time zone 'UTC';
  is_beyond text := format('select exists (select from platform.%I c where (c.xid, c.seq) > ($1, $2) and c.origin = $3)',
                           name);
  here platform.identity;
  reached platform.relay_cursors;
  deleted record;
  is_needed boolean;
begin
  -- One at a time, since two that have looked at the month would wait for each other.
  select * into here from platform.identity for update;
  if to_regclass('platform.' || name) is null then
    return 'absent';
  end if;
  -- An hour more than what is kept: a call that could still ask for it may be under way.
  if (over < now() - make_interval(hours => 24 * here.changes_kept_days + 1)) is not true then
    return 'young';
  end if;
  perform from pg_catalog.pg_inherits i join pg_catalog.pg_class p on p.oid = i.inhrelid
    where i.inhparent = 'platform.changes'::regclass and p.relname < name;
  if found then
    return 'older months';
  end if;
  -- A repeated call is answered with what it wrote, from here. A key is as old as its changes, and may outlive its day
  -- where the upkeep is late.
  perform from platform.idempotency i where i.created_at < over;
  if found then
    return 'idempotency';
  end if;
  -- What no relay has carried is in no activity and on no bill. Of a moved tenant's rows the xids are another
  -- cluster's, where they were relayed. Before the first relay has come nothing was.
  select * into reached from platform.relay_cursors r order by r.xid, r.seq limit 1;
  execute is_beyond into is_needed using coalesce(reached.xid, '0'), coalesce(reached.seq, 0), here.cluster_id;
  if is_needed then
    return 'relay';
  end if;
  -- A table's trash may reach back further than what is kept for all: each table's last deletion tells.
  for deleted in execute format($q$
    with recursive last as (
      (select c.tenant_id, c.table_id, c.changed_at from platform.%1$I c where c.action = 'delete'
        order by c.tenant_id desc, c.table_id desc, c.changed_at desc limit 1)
      union all
      select before.* from last cross join lateral (
        select c.tenant_id, c.table_id, c.changed_at from platform.%1$I c
         where c.action = 'delete' and (c.tenant_id, c.table_id) < (last.tenant_id, last.table_id)
         order by c.tenant_id desc, c.table_id desc, c.changed_at desc limit 1) before)
    select * from last$q$, name)
  loop
    if to_regclass(format('%I.tables', 'tenant_' || deleted.tenant_id)) is not null then
      execute format('select exists (select from %I.tables t where t.id = $1'
                     ' and $2 > now() - make_interval(hours => 24 * t.trash_days + 1))', 'tenant_' || deleted.tenant_id)
        into is_needed using deleted.table_id, deleted.changed_at;
      if is_needed then
        return 'trash';
      end if;
    end if;
  end loop;
  -- The parent first, as every reader and writer does. What was committed since we looked is beyond where the relay
  -- was then; whoever has written without committing is waited for.
  lock table only platform.changes in access exclusive mode;
  execute is_beyond into is_needed using coalesce(reached.xid, '0'), coalesce(reached.seq, 0), here.cluster_id;
  if is_needed then
    return 'relay';
  end if;
  execute format('drop table platform.%I', name);
  update platform.identity set changes_since = greatest(changes_since, over);
  return 'dropped';
end $$;

-- Entering a tenant --------------------------------------------------------------------------------------------

-- The claims are one setting of four words, tenant, workspace, base and role: what is set is given back at the end
-- of every transaction, and what is compared is looked up, so one costs less than four. What a writer's change rows
-- say of him is another: generation, origin, schema version, operation, token and actor. Where several write
-- together, a third one has the operation of each record.
--
-- VOLATILE, so that a fence's row is read with a snapshot taken after the lock was had: a cutover that held it is
-- seen. Few statements, and few expressions outside of them: plpgsql sets up each one anew in every transaction.

-- Enters to read: compares the fence, sets the claims. Without a catalog version it tells its own.
create function platform.enter(p_tenant text, p_claims text, p_generation bigint, p_catalog bigint) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  at_home boolean;
  is_stale boolean;
  done text;
begin
  select f.generation = p_generation and f.state = 'open', f.catalog_version <> p_catalog,
         concat(set_config('pb.claims', p_tenant || ' ' || p_claims, true),
                case when p_catalog is null then set_config('pb.catalog', f.catalog_version::text, true) end)
    into at_home, is_stale, done
    from platform.fences f where f.tenant_id = p_tenant;
  if at_home is not true then
    raise exception 'the tenant is not at home here' using errcode = 'PB001';
  end if;
  if is_stale then
    raise exception 'the schema has changed' using errcode = 'PB002';
  end if;
end $$;

-- Enters to write, inside the fence, and answers the stored answer of a repeated call. Whose write it is stands in
-- every change row, and a row that its receivers refuse would hold all others up: so these are ids, whoever calls.
create function platform.enter_to_write(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_schema_version bigint, p_token platform.ulid,
  p_actor platform.ulid, p_operation platform.ulid, p_key text, p_hash text) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  at_home boolean;
  is_stale boolean;
  done text;
  seen platform.idempotency;
begin
  if split_part(p_claims, ' ', 3) not in ('editor', 'admin', 'owner') then
    raise exception 'this token may only read' using errcode = 'PB403';
  end if;
  perform pg_advisory_xact_lock_shared(hashtextextended(p_tenant, 0));
  select f.generation = p_generation and f.state = 'open', f.catalog_version <> p_catalog,
         concat(set_config('pb.claims', p_tenant || ' ' || p_claims, true),
                set_config('pb.writer', concat(f.generation, ' ', (select i.cluster_id from platform.identity i), ' ',
                                               p_schema_version, ' ', p_operation, ' ', p_token, ' ', p_actor), true))
    into at_home, is_stale, done
    from platform.fences f where f.tenant_id = p_tenant;
  if at_home is not true then
    raise exception 'the tenant is not at home here' using errcode = 'PB001';
  end if;
  if is_stale then
    raise exception 'the schema has changed' using errcode = 'PB002';
  end if;
  if p_key is null then
    return null;
  end if;
  -- An INSERT would wait for its twin; a lock that is taken answers at once.
  if not pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', p_tenant, p_token, p_key), 1)) then
    raise exception 'a call with this Idempotency-Key is under way' using errcode = 'PB409', detail = 'idempotency_in_flight';
  end if;
  select * into seen from platform.idempotency i
   where i.tenant_id = p_tenant and i.token_id = p_token and i.key = p_key;
  if not found then
    return null;
  end if;
  if seen.request_hash <> p_hash then
    raise exception 'this Idempotency-Key was used for another request' using errcode = 'PB422', detail = 'idempotency_mismatch';
  end if;
  return jsonb_build_object('status', seen.status, 'answer', seen.answer);
end $$;

-- What a repeated call is answered from: id, version and outcome of each row; values come from the change log. What
-- was coerced on the way stands in the first row.
create function platform.remember(
  p_tenant text, p_token text, p_key text, p_hash text, p_operation text, p_status int, p_answer json,
  p_coercions json) returns void
language sql volatile security definer set search_path = '' as $$
  insert into platform.idempotency (tenant_id, token_id, key, request_hash, operation_id, status, answer)
  values (p_tenant, p_token, p_key, p_hash, p_operation, p_status,
          case when p_coercions is null then p_answer::jsonb
               else jsonb_set(p_answer::jsonb, '{0,coercions}', p_coercions::jsonb) end)
$$;

-- Enters for several writes of one token, each with an operation, a record and perhaps a key of its own: refused with
-- PB309 where one of the keys was used before or is in use, since such a call is answered by itself.
create function platform.enter_together(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_schema_version bigint, p_token text,
  p_actor text, p_operations text[], p_ids text[], p_keys text[]) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform platform.enter_to_write(p_tenant, p_claims, p_generation, p_catalog, p_schema_version, p_token, p_actor,
                                  p_operations[1], null, null),
          set_config('pb.operations', jsonb_object(p_ids, p_operations::platform.ulid[]::text[])::text, true);
  -- What has to wait for another transaction waits by itself, and not all the others with it.
  perform set_config('lock_timeout', '50ms', true);
  if not (select bool_and(pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', p_tenant, p_token, k), 1)))
            from unnest(p_keys) k where k is not null)
     or exists (select from platform.idempotency i
                 where i.tenant_id = p_tenant and i.token_id = p_token and i.key = any (p_keys)) then
    raise exception 'a call with one of these Idempotency-Keys is under way or done' using errcode = 'PB309';
  end if;
end $$;

-- What `remember` does, for each of several writes that is in `p_answer`, by the id of its record.
create function platform.remember_together(
  p_tenant text, p_token text, p_keys text[], p_hashes text[], p_operations text[], p_ids text[], p_status int,
  p_answer json) returns void
language sql volatile security definer set search_path = '' as $$
  insert into platform.idempotency (tenant_id, token_id, key, request_hash, operation_id, status, answer)
  select p_tenant, p_token, k.key, k.hash, k.operation_id, p_status, jsonb_build_array(a.answer)
    from unnest(p_keys, p_hashes, p_operations, p_ids) k(key, hash, operation_id, id)
    join json_array_elements(p_answer) a(answer) on a.answer ->> 'id' = k.id
   where k.key is not null
$$;

-- One call per request. `p_sql` is compiled by db/data for one table version and runs as the tenant's role.
--
-- With `p_name` the statement is prepared under that name in this session, which keeps its plan: `p_sql` comes with
-- the first call only, and what was never prepared here is refused with 26000. It is prepared and executed as the
-- tenant's role, and PostgreSQL plans it again should it ever run as another, which then has no right to it. Its
-- parameters pass as literals, since EXECUTE takes no others here.

-- A read: `p_sql` takes ($1 jsonb, $2 text[]), parameters and ids, and answers (body json, hint json).
create function platform.read(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint,
  p_name text, p_sql text, p_params json, p_ids text[], out body json, out hint json)
language plpgsql volatile security invoker as $$
begin
  perform platform.enter(p_tenant, p_claims, p_generation, p_catalog),
          pg_catalog.set_config('role', 'tenant_' || p_tenant, true);
  if p_name is null then
    -- Planned for this call alone; what is kept, `enter` included, never reads a table as a whole.
    perform pg_catalog.set_config('enable_seqscan', 'on', true);
    execute p_sql into body, hint using p_params::jsonb, p_ids;
    return;
  end if;
  if p_sql is not null then
    perform from pg_catalog.pg_prepared_statements p where p.name = p_name;
    if not found then
      execute pg_catalog.format('prepare %I (jsonb, text[]) as %s', p_name, p_sql);
    end if;
  end if;
  execute pg_catalog.format('execute %I (%L, %L)', p_name, p_params, p_ids) into body, hint;
end $$;

-- Several reads by one prepared statement, each with parameters of its own and a snapshot of its own.
create function platform.read_together(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_name text, p_sql text, p_params json[])
returns table (body json, hint json)
language plpgsql volatile security invoker as $$
declare
  params json;
begin
  perform platform.enter(p_tenant, p_claims, p_generation, p_catalog),
          pg_catalog.set_config('role', 'tenant_' || p_tenant, true);
  if p_sql is not null then
    perform from pg_catalog.pg_prepared_statements p where p.name = p_name;
    if not found then
      execute pg_catalog.format('prepare %I (jsonb, text[]) as %s', p_name, p_sql);
    end if;
  end if;
  foreach params in array p_params loop
    execute pg_catalog.format('execute %I (%L, %L)', p_name, params, '{}') into body, hint;
    return next;
  end loop;
end $$;

-- A write: `p_sql` takes ($1 jsonb, $2 text[], $3 text, $4 bigint[], $5 boolean), parameters, ids, who writes, the
-- versions that may be changed, and whether the call is remembered; it answers (body json, affected int, hint json).
-- Where not `p_expect` rows were affected, `p_otherwise` runs with a snapshot of its own and answers (body json,
-- sqlstate text, hint json): a sqlstate refuses with the hint as detail, none means that nothing had to change.
-- Without `p_expect` any number up to `p_most` is right. The hint is what a repeated call is answered from, by
-- `p_replay`, which takes it as $1; where that did not come along it is asked for with PB308.
create function platform.write(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_schema_version bigint, p_token text,
  p_actor text, p_operation text, p_key text, p_hash text, p_status int,
  p_name text, p_sql text, p_otherwise text, p_replay text, p_params json, p_ids text[], p_match bigint[],
  p_expect int, p_most int, p_coercions json, out body json, out hint json, out replayed_status int)
language plpgsql volatile security invoker as $$
declare
  replay jsonb;
  affected int;
  problem text;
begin
  replay := platform.enter_to_write(p_tenant, p_claims, p_generation, p_catalog, p_schema_version, p_token, p_actor,
                                    p_operation, p_key, p_hash);
  problem := pg_catalog.set_config('role', 'tenant_' || p_tenant, true);
  if replay is not null then
    if p_replay is null then
      raise exception 'this call was done before' using errcode = 'PB308';
    end if;
    execute p_replay into body, affected, hint using replay -> 'answer';
    replayed_status := replay ->> 'status';
    return;
  end if;
  if p_name is null then
    perform pg_catalog.set_config('enable_seqscan', 'on', true);
    execute p_sql into body, affected, hint
      using p_params::jsonb, p_ids, coalesce(p_actor, p_token), p_match, p_key is not null;
  else
    if p_sql is not null then
      perform from pg_catalog.pg_prepared_statements p where p.name = p_name;
      if not found then
        execute pg_catalog.format('prepare %I (jsonb, text[], text, bigint[], boolean) as %s', p_name, p_sql);
      end if;
    end if;
    execute pg_catalog.format('execute %I (%L, %L, %L, %L, %L)', p_name, p_params, p_ids, coalesce(p_actor, p_token),
                              p_match, p_key is not null)
      into body, affected, hint;
  end if;
  if affected is distinct from p_expect then
    if affected > p_most then
      raise exception 'more rows would be affected than may be' using errcode = 'PB413', detail = affected;
    end if;
    if p_expect is null then
      null;
    elsif p_otherwise is null then
      raise exception 'there is no such record' using errcode = 'PB404', detail = coalesce(hint::text, '');
    else
      execute p_otherwise into body, problem, hint
        using p_params::jsonb, p_ids, coalesce(p_actor, p_token), p_match, p_key is not null;
      if problem is not null then
        raise exception 'refused' using errcode = problem, detail = coalesce(hint::text, '');
      end if;
    end if;
  end if;
  if p_key is not null then
    perform pg_catalog.set_config('role', 'none', true);
    perform platform.remember(p_tenant, p_token, p_key, p_hash, p_operation, p_status, hint, p_coercions);
  end if;
end $$;

-- Several writes of one token to one table, of one record each, all of them or none: one fence, one commit and one
-- statement for what was asked for at the same time. `p_sql` is prepared, and takes what a write's does, but that $4
-- has the version that each record must have, null for any; it answers (body json, affected int, hint json), of those
-- that it did as they were asked for: records, and `{"id", "version"}`, in the same order. What it leaves out is then
-- done by itself.
create function platform.write_together(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_schema_version bigint, p_token text,
  p_actor text, p_name text, p_sql text, p_params json, p_ids text[], p_versions bigint[], p_operations text[],
  p_keys text[], p_hashes text[], p_status int, out body json, out hint json)
language plpgsql volatile security invoker as $$
declare
  affected int;
begin
  perform platform.enter_together(p_tenant, p_claims, p_generation, p_catalog, p_schema_version, p_token, p_actor,
                                  p_operations, p_ids, p_keys),
          pg_catalog.set_config('role', 'tenant_' || p_tenant, true);
  if p_sql is not null then
    perform from pg_catalog.pg_prepared_statements p where p.name = p_name;
    if not found then
      execute pg_catalog.format('prepare %I (jsonb, text[], text, bigint[], boolean) as %s', p_name, p_sql);
    end if;
  end if;
  execute pg_catalog.format('execute %I (%L, %L, %L, %L, true)', p_name, p_params, p_ids, coalesce(p_actor, p_token),
                            p_versions)
    into body, affected, hint;
  if hint is not null and p_keys is not null then
    perform pg_catalog.set_config('role', 'none', true);
    perform platform.remember_together(p_tenant, p_token, p_keys, p_hashes, p_operations, p_ids, p_status, hint);
  end if;
end $$;

-- A write that is answered by rows, [{n, status, id, version} or {n, status, error}], and remembered as it is
-- answered. `p_sql` takes and answers what a write's does, each record under the id in `p_ids` at its place; then
-- `p_otherwise` takes ($1 jsonb, $2 text[], $3 jsonb), parameters, ids and what the first has answered, with a
-- snapshot of its own, and answers (rows json, sqlstate text, hint json): one row for each record, whose n counts
-- from 1, or the refusal of the whole call.
--
-- Where `p_each`, what one record is refused for keeps no other from being written. A set of records that fails is
-- tried again without those that `p_taken` finds to blame ($1 jsonb, $2 text[], $3 text, the constraint, which
-- answers their n as int[]); where it finds none, or there is none such, once more as it is and then in halves. There
-- are at most 64 attempts, each a subtransaction; what is left then was not tried.
--
-- `p_places` says which of the caller's records these are, from 0, and `p_refused` has the rows of the others.
create function platform.write_rows(
  p_tenant text, p_claims text, p_generation bigint, p_catalog bigint, p_schema_version bigint, p_token text,
  p_actor text, p_operation text, p_key text, p_hash text, p_status int,
  p_sql text, p_otherwise text, p_taken text, p_params json, p_ids text[], p_each boolean, p_places int[],
  p_refused json, p_coercions json, out body json, out replayed_status int)
language plpgsql volatile security invoker as $$
declare
  replay jsonb;
  params jsonb;
  writer text := coalesce(p_actor, p_token);
  done json;
  affected int;
  hint json;
  answered json;
  problem text;
  sets text[];
  here int[];
  slice jsonb;
  slice_ids text[];
  left_over int := 64;
  is_second boolean := false;
  state text;
  constraint_broken text;
  blamed int[];
  found jsonb := '[]';
begin
  replay := platform.enter_to_write(p_tenant, p_claims, p_generation, p_catalog, p_schema_version, p_token, p_actor,
                                    p_operation, p_key, p_hash);
  problem := pg_catalog.set_config('role', 'tenant_' || p_tenant, true);
  if replay is not null then
    body := replay -> 'answer';
    replayed_status := replay ->> 'status';
    return;
  end if;
  params := p_params::jsonb;
  sets := case when pg_catalog.cardinality(p_ids) > 0
               then array[(select pg_catalog.array_agg(n) from pg_catalog.generate_series(1, pg_catalog.cardinality(p_ids)) n)::text] end;
  while pg_catalog.cardinality(sets) > 0 loop
    here := sets[pg_catalog.cardinality(sets)]::int[];
    sets := pg_catalog.trim_array(sets, 1);
    if left_over = 0 then
      found := found || (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                                'n', n, 'status', 'error', 'error', pg_catalog.jsonb_build_object('state', 'PB429')))
                           from pg_catalog.unnest(here) n);
      continue;
    end if;
    left_over := left_over - 1;
    if pg_catalog.cardinality(here) = pg_catalog.cardinality(p_ids) then
      slice := params;
      slice_ids := p_ids;
    else
      slice := pg_catalog.jsonb_build_object('records', (
        select pg_catalog.jsonb_agg(e.rec order by e.n)
          from pg_catalog.jsonb_array_elements(params -> 'records') with ordinality as e(rec, n) where e.n = any (here)));
      slice_ids := array(select e.id from pg_catalog.unnest(p_ids) with ordinality as e(id, n)
                          where e.n = any (here) order by e.n);
    end if;
    if not p_each then
      execute p_sql into done, affected, hint using slice, slice_ids, writer, null::bigint[], false;
      execute p_otherwise into answered, problem, hint using slice, slice_ids, coalesce(done::jsonb, '[]');
      if problem is not null then
        raise exception 'refused' using errcode = problem, detail = coalesce(hint::text, '');
      end if;
      found := answered;
      continue;
    end if;
    begin
      execute p_sql into done, affected, hint using slice, slice_ids, writer, null::bigint[], false;
      execute p_otherwise into answered, problem, hint using slice, slice_ids, coalesce(done::jsonb, '[]');
      if problem is not null then
        raise exception 'refused' using errcode = problem, detail = coalesce(hint::text, '');
      end if;
      found := found || (select pg_catalog.jsonb_agg(r || pg_catalog.jsonb_build_object('n', here[(r ->> 'n')::int]))
                           from pg_catalog.jsonb_array_elements(answered::jsonb) r);
    exception when unique_violation or data_exception or program_limit_exceeded then
      get stacked diagnostics state = returned_sqlstate, constraint_broken = constraint_name;
      blamed := null;
      if state in ('23505', '22L01') and p_taken is not null and pg_catalog.cardinality(here) > 1 then
        execute p_taken into blamed using slice, slice_ids, constraint_broken;
      elsif not is_second then
        is_second := true;
        sets := sets || here::text;
        continue;
      elsif pg_catalog.cardinality(here) = 1 then
        blamed := array[1];
      end if;
      if pg_catalog.cardinality(blamed) > 0 then
        found := found || (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                                  'n', here[n], 'status', 'error',
                                  'error', pg_catalog.jsonb_build_object('state', state, 'name', constraint_broken)))
                             from pg_catalog.unnest(blamed) n);
        here := array(select h.at from pg_catalog.unnest(here) with ordinality as h(at, n)
                       where not h.n = any (blamed) order by h.at);
        if pg_catalog.cardinality(here) > 0 then
          sets := sets || here::text;
        end if;
      else
        sets := sets || here[pg_catalog.cardinality(here) / 2 + 1 :]::text || here[: pg_catalog.cardinality(here) / 2]::text;
      end if;
    end;
  end loop;
  body := (
    select pg_catalog.json_agg(f.r order by (f.r ->> 'n')::int)
      from (select r || pg_catalog.jsonb_build_object('n', p_places[(r ->> 'n')::int]) as r
              from pg_catalog.jsonb_array_elements(found) r
            union all
            select r from pg_catalog.jsonb_array_elements(p_refused::jsonb) r) f);
  if p_key is not null then
    perform pg_catalog.set_config('role', 'none', true);
    perform platform.remember(p_tenant, p_token, p_key, p_hash, p_operation, p_status, body, p_coercions);
  end if;
end $$;

-- The change log's only writers ---------------------------------------------------------------------------------

-- Who is writing where nobody has entered, as a worker does: the tenant's own fence. (Where somebody has, it is what
-- entering set: generation, origin, schema version, operation, token and actor.)
create function platform.worker(p_tenant text) returns text[] language sql stable as $$
  select array[f.generation::text, i.cluster_id] from platform.fences f, platform.identity i where f.tenant_id = p_tenant
$$;

create function platform.log_create() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  w text[] := string_to_array(current_setting('pb.writer', true), ' ', '');
  operations jsonb := nullif(current_setting('pb.operations', true), '');
begin
  if w[1] is null then
    w := platform.worker(tg_argv[0]);
  end if;
  insert into platform.changes (tenant_id, workspace_id, base_id, table_id, record_id, version, action, before, after,
                                generation, origin, schema_version, operation_id, token_id, actor_id)
  select tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3], n.id, n.version,
         case when n.version = 1 then 'create' else 'restore' end, null, to_jsonb(n),
         w[1]::bigint, w[2], w[3]::bigint, coalesce(operations ->> n.id, w[4]), w[5], w[6]
    from new_rows n;
  return null;
end $$;

create function platform.log_update() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  w text[] := string_to_array(current_setting('pb.writer', true), ' ', '');
  operations jsonb := nullif(current_setting('pb.operations', true), '');
begin
  if w[1] is null then
    w := platform.worker(tg_argv[0]);
  end if;
  insert into platform.changes (tenant_id, workspace_id, base_id, table_id, record_id, version, action, before, after,
                                generation, origin, schema_version, operation_id, token_id, actor_id)
  select tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3], n.id, n.version, 'update', to_jsonb(o), to_jsonb(n),
         w[1]::bigint, w[2], w[3]::bigint, coalesce(operations ->> n.id, w[4]), w[5], w[6]
    from new_rows n join old_rows o on o.id = n.id;
  return null;
end $$;

create function platform.log_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  w text[] := string_to_array(current_setting('pb.writer', true), ' ', '');
  operations jsonb := nullif(current_setting('pb.operations', true), '');
begin
  if w[1] is null then
    w := platform.worker(tg_argv[0]);
  end if;
  insert into platform.changes (tenant_id, workspace_id, base_id, table_id, record_id, version, action, before, after,
                                generation, origin, schema_version, operation_id, token_id, actor_id)
  select tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3], o.id, o.version + 1, 'delete', to_jsonb(o), null,
         w[1]::bigint, w[2], w[3]::bigint, coalesce(operations ->> o.id, w[4]), w[5], w[6]
    from old_rows o;
  return null;
end $$;

-- A new owner needs CREATE on the schema while it becomes one.
grant create on schema platform to changes_writer;
alter function platform.log_create() owner to changes_writer;
alter function platform.log_update() owner to changes_writer;
alter function platform.log_delete() owner to changes_writer;
revoke create on schema platform from changes_writer;

-- Links ---------------------------------------------------------------------------------------------------------

-- What a write puts into a link: the ids it names, null for none; refused where some of them were not found.
create function platform.linked(p_column text, p_wanted text[], p_found text[]) returns text[]
language plpgsql stable security invoker set search_path = '' as $$
begin
  if cardinality(p_found) < cardinality(p_wanted) then
    raise exception 'there is no such record' using errcode = '22L01', constraint = p_column,
      detail = array_to_json(array(select unnest(p_wanted) except select unnest(p_found)));
  end if;
  return nullif(p_wanted, '{}');
end $$;

-- Keeps a link as pairs as well: its arguments are the schema, the pairs' table and the link's column. It writes with
-- the rights of whoever writes the records, within the same claims.
create function platform.pair_links() returns trigger
language plpgsql security invoker set search_path = '' as $body$
begin
  if tg_op = 'INSERT' then
    execute format('insert into %I.%I (target, source) select distinct t.id, n.id from new_rows n, unnest(n.%I) t(id)',
                   tg_argv[0], tg_argv[1], tg_argv[2]);
  elsif tg_op = 'DELETE' then
    execute format('delete from %I.%I p using old_rows o where p.source = o.id and o.%I is not null',
                   tg_argv[0], tg_argv[1], tg_argv[2]);
  else
    -- What is deleted and what is inserted have no pair in common, so that one statement can do both.
    execute format($$with changed as materialized (
                       select n.id, coalesce(o.%3$I, '{}') as was, coalesce(n.%3$I, '{}') as becomes
                         from old_rows o join new_rows n using (id) where o.%3$I is distinct from n.%3$I),
                     gone as (
                       delete from %1$I.%2$I p using changed c where p.source = c.id and p.target <> all (c.becomes))
                     insert into %1$I.%2$I (target, source)
                     select distinct t.id, c.id from changed c, unnest(c.becomes) t(id) where t.id <> all (c.was)$$,
                   tg_argv[0], tg_argv[1], tg_argv[2]);
  end if;
  return null;
end $body$;

-- Who may do what ----------------------------------------------------------------------------------------------

revoke all on all functions in schema platform from public;

grant usage on schema platform to data_api, tenant_owner, tenant_reader, tenant_members, changes_writer,
  schema_worker, tenants_worker, metering_worker, maintenance_worker;

grant execute on function platform.enter(text, text, bigint, bigint),
  platform.enter_to_write(text, text, bigint, bigint, bigint, platform.ulid, platform.ulid, platform.ulid, text, text),
  platform.enter_together(text, text, bigint, bigint, bigint, text, text, text[], text[], text[]),
  platform.remember(text, text, text, text, text, int, json, json),
  platform.remember_together(text, text, text[], text[], text[], text[], int, json),
  platform.read(text, text, bigint, bigint, text, text, json, text[]),
  platform.read_together(text, text, bigint, bigint, text, text, json[]),
  platform.write(text, text, bigint, bigint, bigint, text, text, text, text, text, int, text, text, text, text, json,
                 text[], bigint[], int, int, json),
  platform.write_rows(text, text, bigint, bigint, bigint, text, text, text, text, text, int, text, text, text, json,
                      text[], boolean, int[], json, json),
  platform.write_together(text, text, bigint, bigint, bigint, text, text, text, text, json, text[], bigint[], text[],
                          text[], text[], int) to data_api;

grant insert on platform.changes to changes_writer;
grant usage on sequence platform.changes_seq to changes_writer;
grant select on platform.fences, platform.identity to changes_writer;
grant execute on function platform.worker(text) to changes_writer;

grant select on platform.changes to tenant_members;
grant select (changes_kept_days, changes_since) on platform.identity to tenant_members;
create policy changes_of_my_base on platform.changes for select to tenant_members
  using (current_user = 'tenant_' || tenant_id
         and workspace_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 2), ''))
         and base_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));

grant select on platform.changes to maintenance_worker;
create policy changes_of_the_relay on platform.changes for select to maintenance_worker using (true);
grant select, insert, update on platform.relay_cursors to maintenance_worker;
grant select on platform.identity, platform.fences to maintenance_worker, schema_worker, tenants_worker, metering_worker;
grant select, delete on platform.idempotency to maintenance_worker;
grant execute on function platform.ensure_partitions(date, int), platform.drop_partition(date) to maintenance_worker;

grant execute on function platform.log_create(), platform.log_update(), platform.log_delete(), platform.pair_links()
  to tenant_owner;
grant execute on function platform.linked(text, text[], text[]) to tenant_members;
grant select, insert, update, delete on platform.fences to tenant_owner;
grant select, insert, update on platform.schema_steps to tenant_owner;
grant select on platform.identity to tenant_owner;
