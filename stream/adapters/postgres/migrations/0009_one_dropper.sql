-- One dropper at a time, as with what is made ahead: of two that found the same oldest partition the second met a table that was gone, which reads
-- like a schema that was never made.
create or replace function drop_outbox(size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
declare
    oldest text;
    blocked boolean;
begin
    if not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' rotation', 0)) then
        return '{}';
    end if;
    select c.relname into oldest
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'outbox'::regclass
        order by substring(c.relname from '\d+$')::bigint limit 1;
    if oldest is null or (substring(oldest from '\d+$')::bigint + 1) * size > coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')::regclass), 0) then
        return '{}';
    end if;
    blocked := is_unsent(oldest);
    if blocked then
        return '{}';
    end if;
    -- The outbox before its partition, as everybody comes.
    lock table only outbox in access exclusive mode;
    execute format('lock table %I in access exclusive mode', oldest);
    blocked := is_unsent(oldest);
    if blocked then
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;

create or replace function drop_history(keep interval, size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
declare
    oldest text;
    newest timestamptz;
begin
    if keep is null or not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' rotation', 0)) then
        return '{}';
    end if;
    select c.relname into oldest
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'history'::regclass
        order by substring(c.relname from '\d+$')::bigint limit 1;
    if oldest is null or (substring(oldest from '\d+$')::bigint + 2) * size > (select last_value from history_id) then
        return '{}';
    end if;
    execute format('select max(at) from %I', oldest) into newest;
    if newest > stream_now() - keep then
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;
