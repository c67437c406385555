-- A tenant's schema: metadata that its role may read within the claims, and nothing else.
-- :schema, :role, :tenant stand for quoted identifiers and the id; filled in by db/data/tenants.py only.
create schema :schema authorization tenant_owner;

create table :schema.bases (
  id platform.ulid primary key,
  workspace_id platform.ulid not null,
  name text not null,
  status text not null default 'active',
  schema_version bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table :schema.tables (
  id platform.ulid primary key,
  base_id platform.ulid not null references :schema.bases (id),
  name text not null,
  display_name text,
  schema_version bigint not null default 1,
  trash_days int not null default 30 check (trash_days between 1 and 90),
  position int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index on :schema.tables (base_id, lower(name));

create table :schema.fields (
  id platform.ulid primary key,
  base_id platform.ulid not null references :schema.bases (id),
  table_id platform.ulid not null references :schema.tables (id) on delete cascade,
  name text not null,
  type text not null,
  options_json jsonb not null default '{}',
  is_required boolean not null default false,
  is_unique boolean not null default false,
  position int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index on :schema.fields (table_id, lower(name));
create index on :schema.fields (base_id);

create table :schema.views (
  id platform.ulid primary key,
  base_id platform.ulid not null references :schema.bases (id),
  table_id platform.ulid not null references :schema.tables (id) on delete cascade,
  name text not null,
  kind text not null check (kind in ('grid', 'form', 'kanban', 'gantt', 'gallery')),
  definition_json jsonb not null default '{}',
  position int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index on :schema.views (table_id, lower(name));
create index on :schema.views (base_id);

create table :schema.files (
  id platform.ulid primary key,
  base_id platform.ulid not null references :schema.bases (id),
  path text not null,
  size_bytes bigint not null check (size_bytes >= 0),
  checksum text not null,
  mime text not null,
  created_at timestamptz not null default now()
);
create index on :schema.files (base_id);

alter table :schema.bases enable row level security;
alter table :schema.bases force row level security;
alter table :schema.tables enable row level security;
alter table :schema.tables force row level security;
alter table :schema.fields enable row level security;
alter table :schema.fields force row level security;
alter table :schema.views enable row level security;
alter table :schema.views force row level security;
alter table :schema.files enable row level security;
alter table :schema.files force row level security;

create policy in_claims on :schema.bases for select to :role
  using ((select nullif(split_part(current_setting('pb.claims', true), ' ', 1), '')) = ':tenant'
         and workspace_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 2), ''))
         and id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));
create policy in_claims on :schema.tables for select to :role
  using ((select nullif(split_part(current_setting('pb.claims', true), ' ', 1), '')) = ':tenant'
         and base_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));
create policy in_claims on :schema.fields for select to :role
  using ((select nullif(split_part(current_setting('pb.claims', true), ' ', 1), '')) = ':tenant'
         and base_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));
create policy in_claims on :schema.views for select to :role
  using ((select nullif(split_part(current_setting('pb.claims', true), ' ', 1), '')) = ':tenant'
         and base_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));
create policy in_claims on :schema.files for select to :role
  using ((select nullif(split_part(current_setting('pb.claims', true), ' ', 1), '')) = ':tenant'
         and base_id = (select nullif(split_part(current_setting('pb.claims', true), ' ', 3), '')));

grant usage on schema :schema to :role, tenant_reader;
grant select on :schema.bases, :schema.tables, :schema.fields, :schema.views, :schema.files to :role, tenant_reader;
