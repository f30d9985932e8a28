-- What the failpoint tests look at, from outside.

-- name: progress
-- How far everything is: where the partitions stand together, timers that are due, messages unsent.
select
    (select coalesce(sum(next_offset), 0)::bigint from partition) as position,
    (select count(*)::bigint from timer where due_at <= stream_now()) as due,
    (
        select count(*)::bigint from outbox_position p join outbox o on o.shard = p.shard
        where not pg_visible_in_snapshot(o.xid, p.lo) and (p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi))
    ) as unsent;

-- name: passed
-- Where the partitions stand, and how many messages a cursor over their numbers has before it, for a relay that has nothing but that.
select
    (select coalesce(max(next_offset), 0)::bigint from partition) as furthest,
    (select coalesce(sum(next_offset), 0)::bigint from partition) as position,
    (
        select count(*)::bigint from outbox_position p join outbox o on o.shard = p.shard
        where o.seq > p.seq and not pg_visible_in_snapshot(o.xid, p.lo)
    ) as unsent,
    (select count(*)::bigint from outbox_position where seq > 0 or hi is not null or lo::text <> '1:1:') as sent,
    (select count(*)::bigint from timer where due_at <= stream_now()) as due,
    (select count(*)::bigint from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') as waiting;

-- name: healthy
select coalesce(max(next_offset), 0)::bigint as position from partition where partition = 0;

-- name: counts
select
    sum(records)::bigint as records, sum(admitted)::bigint as admitted, sum(duplicate)::bigint as duplicate, sum(conflict)::bigint as conflict,
    sum(dead)::bigint as dead, sum(skipped)::bigint as skipped, sum(concerned)::bigint as concerned, sum(applied)::bigint as applied,
    sum(ignored)::bigint as ignored, sum(deferred)::bigint as deferred, sum(rejected)::bigint as rejected, sum(parked)::bigint as parked,
    sum(drained)::bigint as drained
from partition;

-- name: entities
select id, state, version, n, last_id, chain, data, sequences from entity where version > 0 order by id;

-- name: history
select * from history order by entity_id, n;

-- name: letters
select reason, status, value from dead_letter order by id;

-- name: line
select outcome, reason, value from waiting order by id;

-- name: held
select reason, value from outbox_held order by seq;

-- name: owners
select owner from partition;

-- name: leases
select count(*)::integer as n from outbox_position where owner <> '';

-- name: first_parts
-- Small partitions, the outbox's first one nearly full: so that a rotation has something to make and to drop.
drop table history_p0, history_p1, outbox_p0, outbox_p1;
select make_ahead(10000), setval(pg_get_serial_sequence('outbox', 'seq'), 9960);

-- name: served
-- The same as `progress`, with what people ordered and the notices that wait.
select
    (select coalesce(sum(next_offset), 0)::bigint from partition) as position,
    (select count(*)::bigint from timer where due_at <= stream_now()) as due,
    (
        select count(*)::bigint from outbox_position p join outbox o on o.shard = p.shard
        where not pg_visible_in_snapshot(o.xid, p.lo) and (p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi))
    ) as unsent,
    (select count(*)::bigint from audit) as orders,
    (select count(*)::bigint from notification where status = 'waiting') as waiting;

-- name: tasks
select entity_id, name, status, answer, closed_by, reason from task order by entity_id, id;

-- name: notices
select entity_id, owner, type, key, status from notification order by id;

-- name: audit
select actor, action, target from audit order by id;
