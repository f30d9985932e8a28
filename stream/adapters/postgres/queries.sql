-- The statements of the store: from claim to commit. A statement begins at its name; the comment lines after that say what it is for.

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
    e.machine, e.id, e.version, e.machine_version, e.state, e.data, e.since, e.time, e.n, e.last_id, e.chain, e.sequences, e.holds, e.number
from unnest($1::text[], $2::text[]) as x (machine, id)
join entity e on e.machine = x.machine and e.id = x.id
order by e.machine, e.id
for update of e;

-- name: timers
-- The timers of locked entities. A later statement than the lock: in the same one, a rival's commit would be missed.
select t.machine, t.entity_id, t.name, t.due_at, t.reading
from unnest($1::text[], $2::text[]) as x (machine, id)
join timer t on t.machine = x.machine and t.entity_id = x.id;

-- name: lines
-- The lines of locked entities, in order. Behind a failure nothing moves but by a person's order (`$3`): else only the first that is parked is
-- read, which says that it is, and a line of a gigabyte costs nothing.
select
    w.id, w.machine, w.entity_id, w.outcome, w.reason, w.event_id, w.event_type, w.correlation_id, w.since, w.until, w.attempts, w.error,
    w.topic, w.partition, w."offset", w.timestamp, w.key, w.value, w.headers, w.number
from unnest($1::text[], $2::text[]) as x (machine, id)
left join lateral (
    select p.id from waiting p
    where p.machine = x.machine and p.entity_id = x.id and p.outcome = 'parked'
    order by p.machine, p.entity_id, p.id limit 1
) first on not $3::boolean
join waiting w on w.machine = x.machine and w.entity_id = x.id and ($3::boolean or w.outcome <> 'parked' or w.id = first.id)
order by w.id;

-- name: tasks
-- The open tasks of locked entities. A later statement than the lock.
select t.machine, t.entity_id, t.id, t.name, t.answers, t.reasons, t.owner, t.assignee
from unnest($1::text[], $2::text[]) as x (machine, id)
join task t on t.machine = x.machine and t.entity_id = x.id and t.status = 'open';

-- name: history_block
-- The first of a thousand ids.
select nextval('history_id') as first;

-- name: save_entities
-- Writes entities whose version is still the one that was loaded.
update entity e
set version = x.version, machine_version = x.machine_version, state = x.state, data = x.data, since = x.since, time = x.time,
    n = x.n, last_id = x.last_id, chain = x.chain, sequences = x.sequences, holds = x.holds, number = x.number
from unnest($1::entity_row_14[]) as x
where e.machine = x.machine and e.id = x.id and e.version = x.expected;

-- name: drop_timers
delete from timer t
using unnest($1::text[], $2::text[], $3::text[]) as x (machine, entity_id, name)
where t.machine = x.machine and t.entity_id = x.entity_id and t.name = x.name;

-- name: set_timers
-- A timer replaces its namesake.
insert into timer (machine, entity_id, name, due_at, reading)
select x.machine, x.entity_id, x.name, x.due_at, x.reading
from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[]) as x (machine, entity_id, name, due_at, reading)
order by x.machine collate "C", x.entity_id collate "C", x.name collate "C"
on conflict (machine, entity_id, name) do update set due_at = excluded.due_at, reading = excluded.reading;

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
    topic, partition, "offset", timestamp, key, value, headers, number
)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[], $10::integer[],
    $11::text[], $12::text[], $13::integer[], $14::bigint[], $15::bigint[], $16::bytea[], $17::bytea[], $18::bytea[], $19::bigint[]
);

-- name: close_tasks
-- At most one of a name is open. What was no answer leaves it unanswered.
update task t
set status = case when x.answer is null then 'closed' else 'answered' end, answer = x.answer, closed_by = x.closed_by, closed_at = x.closed_at,
    reason = x.reason, comment = x.comment
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
    as x (machine, entity_id, name, answer, closed_by, closed_at, reason, comment)
where t.machine = x.machine and t.entity_id = x.entity_id and t.name = x.name and t.status = 'open';

-- name: open_tasks
-- One that asks why a clock was breached may be open still: it is enough. The lists come as JSON, for an array of arrays must not be ragged.
insert into task (
    machine, entity_id, name, state, question, owner, answers, reasons, opened_at, priority, status, answer, closed_by, closed_at
)
select
    x.machine, x.entity_id, x.name, x.state, x.question, x.owner,
    array(select json_array_elements_text(x.answers::json)), array(select json_array_elements_text(x.reasons::json)), x.opened_at,
    x.priority, x.status, x.answer, x.closed_by, x.closed_at
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::smallint[],
    $11::text[], $12::text[], $13::text[], $14::timestamptz[]
) as x (machine, entity_id, name, state, question, owner, answers, reasons, opened_at, priority, status, answer, closed_by, closed_at)
on conflict (machine, entity_id, name) where status = 'open' do nothing;

-- name: add_history
insert into history (
    id, prev_id, machine, entity_id, n, outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at,
    correlation_id, causation_id, trace_id, door, error, hash, clocks
)
select * from unnest($1::history_row[]);

-- name: add_messages
-- Array order is the order of `seq`.
insert into outbox (shard, topic, key, value, headers, machine, entity_id, message_id, type, correlation_id, written_at)
select x.*, $2::timestamptz from unnest($1::message_row[]) as x;

-- name: add_notices
insert into notification (machine, entity_id, owner, channel, target, secret, private, type, body, key, correlation_id)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::bytea[], $10::text[], $11::text[]
);

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
-- A partition never seen before begins where the log begins. It is halted if the topic did not have it when it was first adopted.
insert into partition (
    topic, partition, epoch, next_offset, owner, generation, seen_at, topic_partitions, halted_since, halted_by, halt_reason, halt_seen
)
select $1::text, $2::integer, 0, $3::bigint, '', 0, '-infinity'::timestamptz, $4::integer, added.since, added.by, added.reason, added.seen
from (select min(topic_partitions) as partitions from partition where topic = $1::text) known
left join lateral (
    select clock_timestamp() as since, $5::text as by, 'partition_added' as reason,
        jsonb_build_object('position', $3::bigint, 'partitions', known.partitions) as seen
) added on known.partitions <= $2::integer
on conflict (topic, partition) do nothing;

-- name: adopt
-- A new epoch; waits for the transaction of whoever had it. An older generation is refused while the owner was seen lately.
update partition
set epoch = epoch + 1, owner = $3, generation = $4, seen_at = clock_timestamp()
where topic = $1 and partition = $2 and (generation <= $4 or owner = $3 or seen_at < clock_timestamp() - interval '45 seconds')
returning epoch, next_offset, last_offset, fingerprint, topic_id, halted_since, halted_by, halt_reason, halt_seen::text as halt_seen;

-- name: recognize
-- The id of the topic whose log the position speaks of.
update partition set topic_id = $4 where topic = $1 and partition = $2 and epoch = $3;

-- name: halt
-- Nobody reads it from now on. What halted it first stands.
update partition
set halted_since = coalesce(halted_since, clock_timestamp()), halted_by = coalesce(halted_by, owner), halt_reason = coalesce(halt_reason, $4),
    halt_seen = coalesce(halt_seen, $5::text::jsonb)
where topic = $1 and partition = $2 and epoch = $3;

-- name: halted
select halted_since, halted_by, halt_reason, halt_seen::text as halt_seen from partition where topic = $1 and partition = $2;

-- name: resume
-- A decision on a halted partition, in one statement with its line in the audit: a new epoch fences whoever has it.
with resumed as (
    update partition
    set epoch = epoch + 1, next_offset = $5, drained_at = null,
        last_offset = case when $6 then null else last_offset end, fingerprint = case when $6 then null else fingerprint end,
        topic_id = case when $6 then null else topic_id end, halted_since = null, halted_by = null, halt_reason = null, halt_seen = null
    where topic = $1 and partition = $2 and halted_since = $3 and next_offset = $4
    returning topic, partition
)
insert into audit (actor, action, target, reason, before, after)
select $7::text, 'partitions resume', topic || '/' || partition, $8::text, $9::text::jsonb, $10::text::jsonb from resumed;

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

-- name: note_instance
-- A process runs, and waits for what it says; one that said nothing for a day is forgotten.
with gone as (
    delete from instance where seen_at < clock_timestamp() - interval '1 day' and owner <> $1
)
insert into instance (owner, roles, waits)
select $1, $2::text[], coalesce(
    (
        select jsonb_agg(jsonb_build_object('what', x.what, 'detail', x.detail, 'since', clock_timestamp() - x.age) order by x.age desc)
        from unnest($3::text[], $4::text[], $5::interval[]) as x (what, detail, age)
    ),
    '[]'
)
on conflict (owner) do update set roles = excluded.roles, seen_at = clock_timestamp(), waits = excluded.waits;

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

-- name: begin_plain
begin;
