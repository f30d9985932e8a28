-- Partitions made ahead and dropped whole, inbox generations turned round: by the owner's functions, so that the worker role needs no DDL rights.

-- Makes partitions of `parent` until `ahead` of them lie beyond `at`. Bounds are multiples of `size`; partition k holds [k*size, (k+1)*size).
create function make_partitions(parent text, at bigint, size bigint, ahead integer) returns text[]
language plpgsql
set search_path from current
as $$
declare
    k bigint;
    made text[] := '{}';
begin
    for k in at / size .. at / size + ahead loop
        if to_regclass(format('%I', parent || '_p' || k)) is null then
            execute format('create table %I partition of %I for values from (%s) to (%s)', parent || '_p' || k, parent, k * size, (k + 1) * size);
            made := made || format('made %s_p%s', parent, k);
        end if;
    end loop;
    return made;
end $$;

-- Turns the inbox round when its generation is older than half the horizon. The renames lock writers out for that moment: whoever wrote
-- has committed, whoever writes next sees the new names. The oldest generation leaves its newest business time per topic as floor.
create function turn_inbox(horizon interval) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
begin
    if (select at from inbox_opened) > stream_now() - horizon / 2 then
        return '{}';
    end if;
    lock table inbox, inbox_1, inbox_2 in access exclusive mode;
    if (select at from inbox_opened) > stream_now() - horizon / 2 then
        return '{}';
    end if;
    insert into floor (topic, time)
        select topic, newest from inbox_closed where generation = 2
        on conflict (topic) do update set time = greatest(floor.time, excluded.time);
    delete from inbox_closed where generation = 2;
    update inbox_closed set generation = 2;
    insert into inbox_closed (generation, topic, newest)
        select 1, topic, max(stream_time) from partition where stream_time is not null group by topic;
    truncate inbox_2;
    alter table inbox_2 rename to inbox_next;
    alter table inbox_1 rename to inbox_2;
    alter table inbox rename to inbox_1;
    alter table inbox_next rename to inbox;
    update inbox_opened set at = stream_now();
    return array['turned the inbox'];
end $$;

-- Whether a shard has rows in a partition of the outbox that its `lo` does not see: looked up by (shard, xid), never scanned.
create function is_unsent(part text) returns boolean
language plpgsql
set search_path from current
as $$
declare
    found_one boolean;
begin
    execute format(
        'select exists (select from outbox_position p where exists (select from %1$I o where o.shard = p.shard and o.xid >= pg_snapshot_xmax(p.lo))'
        ' or exists (select from %1$I o where o.shard = p.shard and o.xid = any (array(select pg_snapshot_xip(p.lo)))))', part)
        into found_one;
    return found_one;
end $$;

-- Drops the oldest outbox partition that is full, was passed by every shard, and holds nothing that is held. The lock comes first, and only
-- then, in a later statement, the look: what was committed before the lock is seen by it.
create function drop_outbox(size bigint) returns text[]
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
    execute format('lock table %I in access exclusive mode', oldest);
    blocked := is_unsent(oldest);
    if blocked then
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;

-- Drops the oldest history partition when its newest row is older than `keep` (null: history is kept for ever).
create function drop_history(keep interval, size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
declare
    oldest text;
    newest timestamptz;
begin
    select c.relname into oldest
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'history'::regclass
        order by substring(c.relname from '\d+$')::bigint limit 1;
    if keep is null or oldest is null or (substring(oldest from '\d+$')::bigint + 2) * size > (select last_value from history_id) then
        return '{}';
    end if;
    execute format('select max(at) from %I', oldest) into newest;
    if newest > stream_now() - keep then
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;

-- Makes what will be needed. One caller at a time; the others have nothing to do.
create function make_ahead(size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' rotation', 0)) then
        return '{}';
    end if;
    return make_partitions('history', (select last_value from history_id), size, 1)
        || make_partitions('outbox', coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'seq')::regclass), 0), size, 1);
end $$;

select make_ahead(4000000);

revoke execute on function make_partitions, is_unsent, turn_inbox, drop_outbox, drop_history, make_ahead from public;
