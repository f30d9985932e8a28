-- Every statement of the store, the outbox and the timetable. A statement begins at its name; the comment lines after that say what it is for.

-- name: begin
-- Starts a transaction. The share lock on the inbox stays to its end: no generation is turned between reading the floors and first sight.
begin; lock table inbox in access share mode;

-- name: commit
commit;

-- name: rollback
rollback;

-- name: clocks
-- The movable and the real clock, and this transaction's id, by which an unknown outcome of COMMIT is asked for.
select stream_now() as now, clock_timestamp() as clock, pg_current_xact_id()::text as xid;

-- name: time
-- The movable clock alone: gives no transaction an id.
select stream_now() as now;

-- name: times
-- Both clocks.
select stream_now() as now, clock_timestamp() as clock;

-- name: outcome
-- What became of a transaction: in progress, committed, aborted, or null when it is too long ago.
select pg_xact_status($1::text::xid8) as status;

-- name: claim_partitions
-- The fence: locks the partitions whose epoch and position are as expected, sorted. Conditions are judged again on the row as locked.
select p.topic, p.partition, p.stream_time
from partition p
join unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) as x (topic, partition, epoch, start)
    on p.topic = x.topic and p.partition = x.partition
where p.epoch = x.epoch and p.next_offset = x.start
order by p.topic, p.partition
for update of p;

-- name: floors
-- Up to which business time identities may be forgotten.
select topic, time from floor where topic = any ($1::text[]);

-- name: claim_letters
-- Locks open dead letters and closes them as replayed.
with open as (
    select id from dead_letter where id = any ($1::bigint[]) and status = 'open' order by id for update
)
update dead_letter d
set status = 'replayed', closed_by = $2, closed_at = stream_now()
from open
where d.id = open.id
returning d.id, d.topic, d.partition, d."offset", d.timestamp, d.key, d.value, d.headers, d.machine, d.entity_id, d.admitted;

-- name: first_sight
-- Notes identities that no generation has, in their order, and says which ones they were.
insert into inbox (key, content)
select x.key, x.content
from unnest($1::uuid[], $2::uuid[]) as x (key, content)
where not exists (select from inbox_1 i where i.key = x.key) and not exists (select from inbox_2 i where i.key = x.key)
order by x.key
on conflict (key) do nothing
returning key;

-- name: contents
-- The content of identities seen before. A later statement than the insert: what that one waited for is visible now.
select key, content from inbox where key = any ($1::uuid[])
union all
select key, content from inbox_1 where key = any ($1::uuid[])
union all
select key, content from inbox_2 where key = any ($1::uuid[]);

-- name: stubs
-- A row to lock for entities that may not be there yet, in the order of all locks.
insert into entity (machine, id)
select x.machine, x.id from unnest($1::text[], $2::text[]) as x (machine, id)
order by x.machine collate "C", x.id collate "C"
on conflict (machine, id) do nothing;

-- name: entities
-- Locks and reads entities, sorted.
select
    e.machine, e.id, e.version, e.machine_version, e.state, e.data, e.since, e.time, e.n, e.last_id, e.chain, e.sequences, e.fired, e.holds
from unnest($1::text[], $2::text[]) as x (machine, id)
join entity e on e.machine = x.machine and e.id = x.id
order by e.machine, e.id
for update of e;

-- name: timers
-- The timers of locked entities. A later statement than the lock: in the same one, a rival's commit would be missed.
select t.machine, t.entity_id, t.name, t.due_at
from unnest($1::text[], $2::text[]) as x (machine, id)
join timer t on t.machine = x.machine and t.entity_id = x.id;

-- name: lines
-- The lines of locked entities, in order.
select
    w.id, w.machine, w.entity_id, w.outcome, w.reason, w.event_id, w.event_type, w.correlation_id, w.since, w.until, w.attempts, w.error,
    w.topic, w.partition, w."offset", w.timestamp, w.key, w.value, w.headers
from unnest($1::text[], $2::text[]) as x (machine, id)
join waiting w on w.machine = x.machine and w.entity_id = x.id
order by w.id;

-- name: history_block
-- The first of a thousand ids.
select nextval('history_id') as first;

-- name: save_entities
-- Writes entities whose version is still the one that was loaded.
update entity e
set version = x.version, machine_version = x.machine_version, state = x.state, data = x.data, since = x.since, time = x.time,
    n = x.n, last_id = x.last_id, chain = x.chain, sequences = x.sequences, fired = x.fired, holds = x.holds
from unnest($1::entity_row[]) as x
where e.machine = x.machine and e.id = x.id and e.version = x.expected;

-- name: drop_timers
delete from timer t
using unnest($1::text[], $2::text[], $3::text[]) as x (machine, entity_id, name)
where t.machine = x.machine and t.entity_id = x.entity_id and t.name = x.name;

-- name: set_timers
-- A timer replaces its namesake.
insert into timer (machine, entity_id, name, due_at)
select x.machine, x.entity_id, x.name, x.due_at
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as x (machine, entity_id, name, due_at)
order by x.machine collate "C", x.entity_id collate "C", x.name collate "C"
on conflict (machine, entity_id, name) do update set due_at = excluded.due_at;

-- name: drop_lines
delete from waiting where id = any ($1::bigint[]);

-- name: retry_lines
-- What trying again changed of rows that stay in line.
update waiting w
set outcome = x.outcome, reason = x.reason, until = x.until, attempts = x.attempts, error = x.error
from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::integer[], $6::text[]) as x (id, outcome, reason, until, attempts, error)
where w.id = x.id;

-- name: add_lines
-- Ids are given in array order, under the entity's lock: they are the order of the line.
insert into waiting (
    machine, entity_id, outcome, reason, event_id, event_type, correlation_id, since, until, attempts, error,
    topic, partition, "offset", timestamp, key, value, headers
)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::integer[],
    $11::text[], $12::text[], $13::integer[], $14::bigint[], $15::bigint[], $16::bytea[], $17::bytea[], $18::bytea[]
);

-- name: add_history
insert into history (
    id, prev_id, machine, entity_id, n, outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at,
    correlation_id, causation_id, trace_id, door, error, hash
)
select * from unnest($1::history_row[]);

-- name: add_messages
-- Array order is the order of `seq`.
insert into outbox (shard, topic, key, value, headers, machine, entity_id, message_id, type, correlation_id, written_at)
select x.*, $2::timestamptz from unnest($1::message_row[]) as x;

-- name: add_letters
insert into dead_letter (
    reason, error, event_id, event_type, correlation_id, trace_id, machine, entity_id, admitted,
    topic, partition, "offset", timestamp, key, value, headers, at
)
select x.*, $17::timestamptz from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[],
    $10::text[], $11::integer[], $12::bigint[], $13::bigint[], $14::bytea[], $15::bytea[], $16::bytea[]
) as x;

-- name: move_partitions
-- The receipt: positions, times and counts, under the same condition as the claim.
update partition p
set next_offset = x.next_offset,
    last_offset = coalesce(x.last_offset, p.last_offset),
    fingerprint = coalesce(x.fingerprint, p.fingerprint),
    stream_time = greatest(p.stream_time, x.stream_time),
    seen_at = clock_timestamp(),
    records = p.records + x.records, admitted = p.admitted + x.admitted, duplicate = p.duplicate + x.duplicate,
    conflict = p.conflict + x.conflict, dead = p.dead + x.dead, skipped = p.skipped + x.skipped, concerned = p.concerned + x.concerned,
    applied = p.applied + x.applied, ignored = p.ignored + x.ignored, deferred = p.deferred + x.deferred,
    rejected = p.rejected + x.rejected, parked = p.parked + x.parked, unrouted = p.unrouted + x.unrouted,
    drained = p.drained + x.drained, fired = p.fired + x.fired
from unnest(
    $1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::timestamptz[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[],
    $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[]
) as x (
    topic, partition, epoch, start, next_offset, last_offset, fingerprint, stream_time, records, admitted, duplicate, conflict, dead,
    skipped, concerned, applied, ignored, deferred, rejected, parked, unrouted, drained, fired
)
where p.topic = x.topic and p.partition = x.partition and p.epoch = x.epoch and p.next_offset = x.start;

-- name: count_doors
insert into door_count (door, name, n)
select x.door, x.name, x.n from unnest($1::text[], $2::text[], $3::bigint[]) as x (door, name, n)
order by x.door, x.name
on conflict (door, name) do update set n = door_count.n + excluded.n;

-- name: see_partition
-- A partition never seen before begins where the log begins.
insert into partition (topic, partition, epoch, next_offset, owner, generation, seen_at)
values ($1, $2, 0, $3, '', 0, '-infinity')
on conflict (topic, partition) do nothing;

-- name: adopt
-- A new epoch; waits for the transaction of whoever had it. An older generation is refused while the owner was seen lately.
update partition
set epoch = epoch + 1, owner = $3, generation = $4, seen_at = clock_timestamp()
where topic = $1 and partition = $2 and (generation <= $4 or owner = $3 or seen_at < clock_timestamp() - interval '45 seconds')
returning epoch, next_offset, last_offset, fingerprint;

-- name: note_drained
-- The partitions are ours still: `seen_at` is fresh. Where the position too is the one meant, everything up to it was applied at that time.
with mine as (
    select p.topic, p.partition, p.next_offset = x.next_offset as level
    from partition p
    join unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) as x (topic, partition, epoch, next_offset)
        on p.topic = x.topic and p.partition = x.partition and p.epoch = x.epoch
    order by p.topic, p.partition
    for update of p
)
update partition p
set seen_at = clock_timestamp(), drained_at = case when mine.level then $5 else p.drained_at end
from mine
where p.topic = mine.topic and p.partition = mine.partition;

-- name: backlog
-- How many rows of the outbox are unsent; counting ends at a million.
select count(*)::bigint as n from (
    select from outbox_position p
    cross join lateral (
        select o.seq, o.xid from outbox o where o.shard = p.shard and o.xid >= pg_snapshot_xmax(p.lo)
        union all
        select o.seq, o.xid from outbox o where o.shard = p.shard and o.xid = any (array(select pg_snapshot_xip(p.lo)))
    ) o
    where p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi)
    limit 1000000
) unsent;

-- name: lease_shards
-- Renews what is held under a known epoch, takes what is free, expired or left behind by a namesake, up to `$5` shards in all.
with wanted as (
    select p.shard, k.epoch is not null as held
    from outbox_position p
    left join unnest($2::smallint[], $3::bigint[]) as k (shard, epoch) on k.shard = p.shard and k.epoch = p.epoch and p.owner = $1
    where k.epoch is not null or p.owner = $1 or p.leased_until < clock_timestamp()
    order by k.epoch is not null desc, p.shard
    limit $5
    for update of p skip locked
)
update outbox_position p
set owner = $1, leased_until = clock_timestamp() + $4, epoch = p.epoch + case when wanted.held then 0 else 1 end
from wanted
where p.shard = wanted.shard
returning p.shard, p.epoch;

-- name: release_shards
-- Lets go of what `$1` holds, except the shards named.
update outbox_position set owner = '', leased_until = '-infinity' where owner = $1 and shard <> all ($2::smallint[]);

-- name: read_shard
-- What `hi` sees and `lo` does not, after `seq`, in the order of `seq`; without an unfinished `hi`, the present snapshot becomes it.
-- One row with a null seq says that the lease is held and nothing is unsent. `half`: the pass was begun before. `held`: an earlier message of its key is held.
with place as materialized (
    select shard, lo, coalesce(hi, pg_current_snapshot()) as hi, hi is not null as half, case when hi is null then 0 else seq end as seq
    from outbox_position
    where shard = $1 and epoch = $2 and owner = $3 and leased_until > clock_timestamp()
)
select
    p.hi::text as hi, p.half, o.seq, o.topic, o.key, o.value, o.headers,
    exists (select from outbox_held h where h.topic = o.topic and h.key = o.key and h.status = 'open') as held
from place p
left join lateral (
    select n.* from (
        select r.* from outbox r where r.shard = p.shard and r.xid >= pg_snapshot_xmax(p.lo)
        union all
        select r.* from outbox r where r.shard = p.shard and r.xid = any (array(select pg_snapshot_xip(p.lo)))
    ) n
    where n.seq > p.seq and pg_visible_in_snapshot(n.xid, p.hi)
    order by n.seq
    limit $4
) o on true
order by o.seq;

-- name: hold
-- Copies messages to the held ones.
insert into outbox_held (seq, shard, topic, key, value, headers, reason, error, held_at)
select o.seq, o.shard, o.topic, o.key, o.value, o.headers, x.reason, x.error, stream_now()
from unnest($1::bigint[], $2::text[], $3::text[]) as x (seq, reason, error)
join outbox o on o.seq = x.seq
order by o.seq
on conflict (seq) do nothing;

-- name: move_shard
-- Moves the position on, as long as the epoch is ours: within the pair of snapshots, or to a finished one.
update outbox_position
set lo = case when $6 then $4::text::pg_snapshot else lo end,
    hi = case when $6 then null else $4::text::pg_snapshot end,
    seq = case when $6 then 0 else $5 end
where shard = $1 and epoch = $2 and owner = $3;

-- name: feeds
select topic, partition, next_offset, drained_at, stream_time from partition order by topic, partition;

-- name: unsent
-- When the oldest unsent message of each topic was written.
select o.topic, min(o.written_at) as oldest
from outbox_position p
cross join lateral (
    select r.topic, r.seq, r.xid, r.written_at from outbox r where r.shard = p.shard and r.xid >= pg_snapshot_xmax(p.lo)
    union all
    select r.topic, r.seq, r.xid, r.written_at from outbox r where r.shard = p.shard and r.xid = any (array(select pg_snapshot_xip(p.lo)))
) o
where p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi)
group by o.topic;

-- name: due
-- Entities with a timer that is due, the earliest first. No lock: whether it still is there is seen under its entity's lock.
select d.machine, d.entity_id, min(d.due_at) as due
from unnest($1::text[], $2::timestamptz[]) as x (machine, until)
cross join lateral (
    select t.machine, t.entity_id, t.due_at from timer t
    where t.machine = x.machine and t.due_at <= x.until
    order by t.due_at limit $3
) d
group by d.machine, d.entity_id
order by due, d.machine, d.entity_id
limit $3;

-- name: make_ahead
select make_ahead($1) as done;

-- name: turn_inbox
select turn_inbox($1) as done;

-- name: drop_outbox
select drop_outbox($1) as done;

-- name: drop_history
select drop_history($1, $2) as done;

-- name: move_clock
-- Sets how far the movable clock is ahead.
update clock set ahead = $1;

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

-- name: missing_rights
-- Tables that this role may not write.
select t from unnest(array['partition', 'entity', 'timer', 'waiting', 'dead_letter', 'outbox_position']) t
where not has_table_privilege(t, 'select, insert, update')
union all
select t from unnest(array['inbox', 'history', 'outbox', 'audit']) t
where not has_table_privilege(t, 'insert');

-- name: begin_plain
begin;

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
