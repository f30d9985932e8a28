-- The outbox is locked before its partition, as everybody who reads or writes it does. DROP needs both anyway; with the partition first, a reader
-- that already had the outbox waited for the dropper and the dropper for it.
create or replace function drop_outbox(size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
declare
    oldest text;
    blocked boolean;
begin
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
    lock table only outbox in access exclusive mode;
    execute format('lock table %I in access exclusive mode', oldest);
    blocked := is_unsent(oldest);
    if blocked then
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;
