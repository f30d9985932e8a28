-- The statements of migrations and of the check at start.

-- name: belongs
-- Notes whose tables these are, if nobody has.
insert into belonging (app, consumer_group) values ($1, $2) on conflict (only_row) do nothing;

-- name: belonging
select app, consumer_group from belonging;

-- name: schema_versions
-- The migrations that were applied.
select number, checksum from schema_migration order by number;

-- name: schema_exists
select to_regclass('schema_migration') is not null as there;

-- name: schema_closed
-- Whether there is a schema of this name that this role may not even look into.
select 1 from pg_namespace where nspname = $1 and not has_schema_privilege(oid, 'usage');

-- name: missing_rights
-- Tables that this role may not write.
select t from unnest(array['partition', 'entity', 'timer', 'waiting', 'dead_letter', 'outbox_position', 'outbox_held', 'relay', 'instance']) t
where not has_table_privilege(t, 'select, insert, update')
union all
select t from unnest(array['inbox', 'history', 'outbox', 'audit']) t
where not has_table_privilege(t, 'insert');

-- name: migration_lock
-- One migrator at a time; the schema's name is left where the next statement finds it.
select pg_advisory_xact_lock(hashtextextended('migrate ' || $1, 0)), set_config('stream.schema', $1, true);

-- name: make_schema
do $$ begin execute format('create schema if not exists %I', current_setting('stream.schema')); end $$;

-- name: schema_migration
-- What was applied, when, and what it said.
create table if not exists schema_migration (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- name: note_migration
insert into schema_migration (number, name, checksum) values ($1, $2, $3);

-- name: limit_transaction
-- How long any transaction of this connection may last.
select set_config('transaction_timeout', $1, false);

-- name: role
select rolname from pg_roles where rolname = $1;

-- name: grant_worker
select grant_worker($1);

-- name: granted
-- Who was given a worker's rights.
select r.rolname as role
from pg_class c, aclexplode(c.relacl) a, pg_roles r
where c.oid = 'partition'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner and r.oid = a.grantee;

-- name: excess_rights
-- What this role could do beyond its work. Whoever may change what was written could hide what happened; partitions count as their table.
with written as (
    select t::regclass as oid, t as name from unnest(array['history', 'outbox', 'audit']) t
    union all
    select inhrelid, inhparent::regclass::text from pg_inherits where inhparent in ('history'::regclass, 'outbox'::regclass)
)
select 1 as place, 'is a superuser' as what from pg_roles where rolname = current_user and rolsuper
union all
select 2, 'owns the schema' from pg_namespace where nspname = current_schema() and pg_has_role(nspowner, 'member')
union all
select 3, 'owns ' || min(relname) from pg_class
where relnamespace = quote_ident(current_schema())::regnamespace and relkind in ('r', 'p') and pg_has_role(relowner, 'member') having count(*) > 0
union all
select 4, 'may make tables in the schema' where has_schema_privilege(current_schema(), 'create')
union all
select 5, 'may change or delete what was written in ' || min(name) from written
where has_table_privilege(oid, 'update, delete, truncate') or has_any_column_privilege(oid, 'update') having count(*) > 0
order by place;
