-- Anchors: what of an entity's history was dropped by age ends with this row, so that the oldest kept one can be proven.

create table history_anchor (
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    n bigint not null,
    id bigint not null,
    hash bytea not null,
    primary key (machine, entity_id)
);
-- Rows with lower ids have left their anchors.
create table history_anchored (upto bigint not null);
insert into history_anchored values (0);

-- As before, but a partition goes only when all its rows have left their anchors: so many at a call, that no call lasts.
create or replace function drop_history(keep interval, size bigint) returns text[]
language plpgsql security definer
set search_path from current
set lock_timeout = '1s'
as $$
declare
    oldest text;
    newest timestamptz;
    low bigint;
    high bigint;
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
    select upto into low from history_anchored;
    execute format('select id from %I where id >= $1 order by id offset 100000 limit 1', oldest) into high using low;
    execute format(
        'insert into history_anchor as a (machine, entity_id, n, id, hash)
        select distinct on (machine, entity_id) machine, entity_id, n, id, hash from %I where id >= $1 and ($2 is null or id < $2)
        order by machine, entity_id, n desc
        on conflict (machine, entity_id) do update set n = excluded.n, id = excluded.id, hash = excluded.hash where a.n < excluded.n',
        oldest
    ) using low, high;
    if high is not null then
        update history_anchored set upto = high;
        return '{}';
    end if;
    execute format('drop table %I', oldest);
    return array['dropped ' || oldest];
end $$;
