-- What operators ask, and the one thing they write: the audit. Reads take no lock.

-- name: partitions
-- Where every partition stands and what became of its records.
select * from partition order by topic, partition;

-- name: partition
select * from partition where topic = $1 and partition = $2;

-- name: instances
-- Processes that said within the last day that they run; `fresh`: so lately that they still do.
select owner, roles, started_at, seen_at, waits::text as waits, seen_at > clock_timestamp() - interval '15 seconds' as fresh from instance order by owner;

-- name: door_counts
select door, name, n from door_count order by door, name;

-- name: held
-- Messages the broker refused, with later ones of their key: lines of each topic, why the first ones were refused, and since when.
select
    topic, count(distinct key) as lines, count(*) as messages, min(held_at) as oldest,
    coalesce(string_agg(distinct reason, ', ') filter (where attempts > 0), '') as reasons
from outbox_held where status in ('open', 'retrying') group by topic order by topic;

-- name: held_lines
-- Lines of held messages by their first one: of a topic, of these topics and keys (null: any).
select * from (
    select distinct on (h.topic, h.key)
        h.seq, h.shard, h.topic, h.key, h.reason, h.error, h.attempts, h.held_at as since,
        bool_or(h.status = 'retrying') over whole as retrying, count(*) over whole - 1 as behind
    from outbox_held h
    where h.status in ('open', 'retrying') and ($1::text is null or h.topic = $1)
        and ($2::text[] is null or (h.topic, h.key) in (select x.topic, x.key from unnest($2::text[], $3::bytea[]) as x (topic, key)))
    window whole as (partition by h.topic, h.key)
    order by h.topic, h.key, h.seq
) firsts
order by since, seq limit $4;

-- name: held_message
select seq, shard, topic, key, value, headers, status, reason, error, attempts, held_at, settled_at from outbox_held where seq = $1;

-- name: outbox_message
-- A message of the outbox; `passed`: its shard's position says that it was sent, or put to the held ones.
select
    o.seq, o.shard, o.topic, o.key, o.value, o.headers, o.written_at,
    pg_visible_in_snapshot(o.xid, p.lo) or (p.hi is not null and pg_visible_in_snapshot(o.xid, p.hi) and o.seq <= p.seq) as passed
from outbox o join outbox_position p on p.shard = o.shard
where o.seq = $1;

-- name: unsent_places
-- How much is unsent of each shard and topic, and since when; counting ends at a million.
select shard, topic, count(*) as n, min(written_at) as oldest
from (
    select o.* from outbox_position p
    cross join lateral (
        select r.shard, r.topic, r.seq, r.xid, r.written_at from outbox r where r.shard = p.shard and r.xid >= pg_snapshot_xmax(p.lo)
        union all
        select r.shard, r.topic, r.seq, r.xid, r.written_at from outbox r where r.shard = p.shard and r.xid = any (array(select pg_snapshot_xip(p.lo)))
    ) o
    where p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi)
    limit 1000000
) unsent
group by shard, topic order by shard, topic;

-- name: shards
-- Who publishes which shard; a lease that ran out has no owner.
select shard, case when leased_until > clock_timestamp() then owner else '' end as relay from outbox_position order by shard;

-- name: relays
-- Who publishes, and how many shards each; one that was not seen lately, or whose lease ran out, is none.
select r.owner, count(p.shard) as shards, r.seen_until as until
from relay r left join outbox_position p on p.owner = r.owner and p.leased_until > clock_timestamp()
where r.seen_until > clock_timestamp()
group by r.owner order by r.owner;

-- name: timers_of_machines
-- Timers by machine: how many there are, how many are past their instant, and the first. Clocks that stand still are none.
select machine, count(*) as n, count(*) filter (where due_at <= stream_now()) as due, min(due_at) as first
from timer where due_at is not null group by machine order by machine;

-- name: lines_of_machines
-- Events that wait for their entity, by machine and cause.
select machine, outcome, reason, count(*) as events, count(distinct entity_id) as entities, min(since) as oldest
from waiting group by machine, outcome, reason order by machine, outcome, reason;

-- name: open_letters
-- Dead letters nobody has dealt with, by cause.
select topic, reason, count(*) as n, min(at) as oldest, max(at) as newest
from dead_letter where status = 'open' group by topic, reason order by topic, reason;

-- name: clock_ahead
select stream_now() as now, clock_timestamp() as clock, ahead from clock;

-- name: entities
-- Entities by machine and state (null: any), in order, after the one named.
select machine, id, version, state, since, time, n, holds
from entity
where ($1::text is null or machine = $1) and ($2::text is null or state = $2) and (machine, id) > ($3::text, $4::text)
order by machine, id limit $5;

-- name: entity
select machine, id, version, machine_version, state, data, since, time, n, last_id, holds, number from entity where machine = $1 and id = $2;

-- name: timeline
-- The latest `$2` history rows of one entity, by the ids that each row has of the one before it.
with recursive walk as (
    select h.*, 1 as depth from history h where h.id = $1
    union all
    select h.*, w.depth + 1 from walk w join history h on h.id = w.prev_id where w.prev_id > 0 and w.depth < $2
)
select
    n, outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at, correlation_id, causation_id, trace_id, door, error,
    clocks
from walk order by n;

-- name: timers_of_entity
-- Its timers, and its clocks whether they run or stand still.
select name, due_at as due, reading from timer where machine = $1 and entity_id = $2 order by due_at nulls last, name;

-- name: clocks_due
-- Clocks of some machines whose next rung falls due up to a span from now, the first first; those past their instant are among them.
select t.machine, t.entity_id, t.name, t.due_at as due, t.reading, e.state, stream_now() as now
from timer t join entity e on e.machine = t.machine and e.id = t.entity_id
where t.machine = any($1::text[]) and t.due_at <= stream_now() + $2::interval and t.reading is not null
order by t.due_at, t.machine, t.entity_id, t.name limit $3;

-- name: clocks_held
-- Clocks of some machines that a person has paused, the longest first. Reads every clock that has no instant.
select t.machine, t.entity_id, t.name, t.reading, e.state, stream_now() as now
from timer t join entity e on e.machine = t.machine and e.id = t.entity_id
where t.machine = any($1::text[]) and t.due_at is null and t.reading is not null and convert_from(t.reading, 'UTF8')::jsonb ->> 'stands' = 'held'
order by (convert_from(t.reading, 'UTF8')::jsonb ->> 'stood')::timestamptz, t.machine, t.entity_id, t.name limit $2;

-- name: line_of_entity
-- What waits for one entity, in order.
select id, outcome, reason, event_id, event_type, correlation_id, since, until, attempts, error, topic, partition, "offset", value, number
from waiting where machine = $1 and entity_id = $2 order by id;

-- name: parked
-- Entities whose line is parked: at which event, why, and how many wait.
select * from (
    select distinct on (machine, entity_id)
        machine, entity_id, event_type, event_id, error, attempts, since, correlation_id, count(*) over (partition by machine, entity_id) as waiting
    from waiting where outcome = 'parked' and ($1::text is null or machine = $1)
    order by machine, entity_id, id
) heads
order by since, machine, entity_id limit $2;

-- name: letters
-- Dead letters by status and reason (null: any), the newest first.
select id, at, status, reason, error, event_type, event_id, machine, entity_id, topic, partition, "offset", closed_by, closed_at
from dead_letter
where ($1::text is null or status = $1) and ($2::text is null or reason = $2) and ($3::text is null or topic = $3)
order by id desc limit $4;

-- name: letter
select * from dead_letter where id = $1;

-- name: outcomes_of_flow
-- Everything recorded under a correlation id; found by its hash index.
select event_id, event_type, source, actor, causation_id, trace_id, machine, entity_id, outcome, reason, from_state, to_state, time, at, door, error
from history where correlation_id = $1 order by id limit $2;

-- name: messages_of_flow
-- What was said under a correlation id and is still in the outbox, sent or not.
select seq, message_id, type, topic, machine, entity_id, headers, written_at from outbox where correlation_id = $1 order by seq limit $2;

-- name: lines_of_flow
select event_id, event_type, machine, entity_id, outcome, reason, since, error from waiting where correlation_id = $1 order by id limit $2;

-- name: letters_of_flow
select id, event_id, event_type, machine, entity_id, reason, error, at, status from dead_letter where correlation_id = $1 order by id limit $2;

-- name: note_order
-- What an operator ordered; in the transaction that does it.
insert into audit (actor, action, target, reason, before, after) values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb);

-- name: chains
-- Every entity that has a history, with its rows; and rows without an entity. Opened as a cursor; sorted by the server, on its disk.
declare chains no scroll cursor for
select
    coalesce(e.machine, h.machine) as machine, coalesce(e.id, h.entity_id) as entity_id,
    e.n as head_n, e.last_id as head_id, e.chain as head_hash, a.n as anchor_n, a.id as anchor_id, a.hash as anchor_hash,
    h.id, h.prev_id, h.n, h.outcome, h.reason, h.event_id, h.event_type, h.source, h.actor, h.from_state, h.to_state, h.time, h.at,
    h.correlation_id, h.causation_id, h.trace_id, h.door, h.error, h.hash, h.clocks
from (select machine, id, n, last_id, chain from entity where n > 0) e
full join history h on h.machine = e.machine and h.entity_id = e.id
left join history_anchor a on a.machine = e.machine and a.entity_id = e.id
order by machine, entity_id, h.n, h.id;

-- name: more_chains
fetch forward 2000 from chains;

-- name: log_by_case
-- The history for process mining, entity by entity. Opened as a cursor; sorted by the server, on its disk.
declare log_by_case no scroll cursor for
select machine, entity_id, n, event_type as activity, time, actor as resource, outcome, reason, from_state, to_state, event_id, source, at, door,
    correlation_id, causation_id, trace_id
from history
where ($1::text is null or machine = $1) and ($2::timestamptz is null or time >= $2) and ($3::timestamptz is null or time < $3)
    and ($4::boolean or outcome = 'applied')
order by machine, entity_id, n;

-- name: more_by_case
fetch forward 2000 from log_by_case;

-- name: log_by_event
-- The same, event by event: one that concerned several entities has its rows together.
declare log_by_event no scroll cursor for
select machine, entity_id, n, event_type as activity, time, actor as resource, outcome, reason, from_state, to_state, event_id, source, at, door,
    correlation_id, causation_id, trace_id
from history
where ($1::text is null or machine = $1) and ($2::timestamptz is null or time >= $2) and ($3::timestamptz is null or time < $3)
    and ($4::boolean or outcome = 'applied')
order by source, event_id, machine, entity_id, n;

-- name: more_by_event
fetch forward 2000 from log_by_event;

-- name: history_size
-- How many rows the planner takes it to have.
select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as n from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'history'::regclass;

-- name: begins_with
-- The lowest id that the oldest partition of a table may have: rows below were dropped with theirs.
select coalesce(min(substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''?(\d+)')::bigint), 0) as id
from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::text::regclass;

-- name: begin_look
-- One state of everything, for as long as it takes to look at it.
begin isolation level repeatable read read only;

-- name: orders
-- What people ordered, of one person or about one target (patterns; null: any), the latest first.
select at, actor, action, target, reason, before::text as before, after::text as after from audit
where ($1::text is null or actor = $1) and ($2::text is null or target like $2)
order by id desc limit $3;

-- name: unsent_of_entity
-- The first message of one entity that is unsent, or was refused and is held; counting ends at a million rows behind.
select o.seq, o.type, o.topic, o.written_at as since, h.reason, h.error
from outbox o join outbox_held h on h.seq = o.seq and h.status in ('open', 'retrying')
where o.machine = $1 and o.entity_id = $2
union all
select * from (
    select u.seq, u.type, u.topic, u.written_at, null, null
    from (
        select o.* from outbox_position p
        cross join lateral (
            select r.* from outbox r where r.shard = p.shard and r.xid >= pg_snapshot_xmax(p.lo)
            union all
            select r.* from outbox r where r.shard = p.shard and r.xid = any (array(select pg_snapshot_xip(p.lo)))
        ) o
        where p.hi is null or o.seq > p.seq or not pg_visible_in_snapshot(o.xid, p.hi)
        limit 1000000
    ) u
    where u.machine = $1 and u.entity_id = $2 order by u.seq limit 1
) first
order by seq limit 1;

-- name: outbox_noted
-- How far every shard has published, and the clocks, in one look.
select p.shard, p.lo::text as lo, coalesce(p.hi::text, '') as hi, p.seq, clock_timestamp() as clock, c.ahead from outbox_position p, clock c order by p.shard;

-- name: snapshot
select pg_current_snapshot()::text as snapshot;

-- name: said
-- How many messages entities have said, by topic and key, in the order of machine and id, after the one named.
select machine, id, sequences from entity where (machine, id) > ($1::text, $2::text) order by machine, id limit $3;

-- name: outbox_rows
-- Messages that snapshot `$2` sees, after `$1`, `$3` at most and none after the one with which they weigh `$4` bytes. `passed`: by the positions noted
-- (`$5` to `$8`) it was sent, or put to the held ones. Of topics that are not in `$9` only the name is read.
with place as materialized (
    select x.shard, x.lo::pg_snapshot as lo, nullif(x.hi, '')::pg_snapshot as hi, x.seq
    from unnest($5::smallint[], $6::text[], $7::text[], $8::bigint[]) as x (shard, lo, hi, seq)
)
select
    w.seq, w.topic, w.wanted, w.machine, w.entity_id, w.message_id, w.written_at,
    case when w.wanted then w.key end as key, case when w.wanted then w.value end as value, case when w.wanted then w.headers end as headers,
    pg_visible_in_snapshot(w.xid, p.lo) or (p.hi is not null and pg_visible_in_snapshot(w.xid, p.hi) and w.seq <= p.seq) as passed
from (
    select o.*, sum(o.size) over (order by o.seq) - o.size as before from (
        select r.*, r.topic = any ($9::text[]) as wanted, octet_length(r.value) + octet_length(r.headers) as size
        from outbox r
        where r.seq > $1 and pg_visible_in_snapshot(r.xid, $2::text::pg_snapshot)
        order by r.seq limit $3
    ) o
) w
join place p on p.shard = w.shard
where w.before < $4
order by w.seq;

-- name: held_rows
-- Held messages after `$1`, `$2` at most and none after the one with which they weigh `$3` bytes; also those that were settled.
select w.* from (
    select h.*, sum(h.size) over (order by h.seq) - h.size as before
    from (select *, octet_length(value) + octet_length(headers) as size from outbox_held where seq > $1 order by seq limit $2) h
) w
where w.before < $3
order by w.seq;

-- name: turns
-- Entities by machine and state, and since when the one that rests there longest does.
select machine, state, count(*) as n, min(since) as oldest from entity where version > 0 group by machine, state order by machine, state;

-- name: clocks_in_history
-- What became of clocks between two instants of business time (null: any), by machine and clock, and by the state or the owner it was then, or the
-- reason that was given ($4: state | owner | reason | ''). `met` counts those met in time, `met_late` the others; the shares of the time it took, in
-- seconds, are of all that were met.
select
    h.machine, x.clock,
    case $4::text when 'state' then h.from_state when 'owner' then coalesce(x.owner, '') when 'reason' then coalesce(x.reason, '') else '' end as part,
    count(*) filter (where x.what = 'met' and coalesce(x.late, 0) = 0) as met,
    count(*) filter (where x.what = 'met' and x.late > 0) as met_late,
    count(*) filter (where x.what = 'breached') as breached,
    count(*) filter (where x.what = 'withdrawn') as withdrawn,
    count(*) filter (where x.what = 'void') as void,
    count(*) filter (where x.what = 'cancelled') as cancelled,
    count(*) filter (where x.what = 'explained') as explained,
    percentile_disc(array[0.5, 0.9, 0.99]) within group (order by x.took) filter (where x.what = 'met') as took
from history h cross join lateral jsonb_to_recordset(h.clocks::jsonb) as x (clock text, what text, owner text, took float8, late float8, reason text)
where h.clocks is not null and ($1::text is null or h.machine = $1)
    and ($2::timestamptz is null or h.time >= $2) and ($3::timestamptz is null or h.time < $3)
group by 1, 2, 3 order by 1, 2, 3;

-- name: breaches_by_owner
-- Whose turn it was when targets were passed; breaches withdrawn afterwards are counted too.
select h.machine, x.clock, coalesce(x.owner, '') as owner, count(*) as breached
from history h cross join lateral jsonb_to_recordset(h.clocks::jsonb) as x (clock text, what text, owner text)
where h.clocks is not null and x.what = 'breached' and ($1::text is null or h.machine = $1)
    and ($2::timestamptz is null or h.time >= $2) and ($3::timestamptz is null or h.time < $3)
group by h.machine, x.clock, x.owner order by h.machine, x.clock, breached desc, owner;

-- name: breaches_by_reason
-- The codes that were given for breaches.
select h.machine, x.clock, x.reason, count(*) as explained
from history h cross join lateral jsonb_to_recordset(h.clocks::jsonb) as x (clock text, what text, reason text)
where h.clocks is not null and x.what = 'explained' and ($1::text is null or h.machine = $1)
    and ($2::timestamptz is null or h.time >= $2) and ($3::timestamptz is null or h.time < $3)
group by h.machine, x.clock, x.reason order by h.machine, x.clock, explained desc, x.reason;

-- name: tasks
-- Tasks of an owner, a person, a machine, a state, a status (null: any), or one by its id, the most urgent first, then the oldest; and the clock on the answer.
select
    t.id, t.machine, t.entity_id, t.name, t.state, t.question, t.owner, t.answers, t.reasons, t.opened_at, t.priority, t.status, t.assignee, t.claimed_at,
    t.answer, t.closed_by, t.closed_at, t.reason, t.comment, c.due_at, c.reading, stream_now() as now
from task t
left join timer c on c.machine = t.machine and c.entity_id = t.entity_id and c.name = 'sla ' || t.state || ' task' and t.name = 'state ' || t.state
    and t.status = 'open'
where ($1::bigint is null or t.id = $1) and ($2::text is null or t.owner = $2) and ($3::text is null or t.assignee = $3)
    and ($4::text is null or t.machine = $4) and ($5::text is null or t.entity_id = $5) and ($6::text is null or t.status = $6)
order by t.priority, t.opened_at, t.id limit $7;

-- name: comments
select at, actor, text from task_comment where task = $1 order by id;

-- name: hold_entity
-- Its lock, before that of its tasks.
select from entity where machine = $1 and id = $2 for update;

-- name: prioritise_task
update task set priority = $2 where id = $1;

-- name: assign_task
-- To a person of an owner; nobody ("") gives it back.
update task set owner = $2, assignee = $3, claimed_at = case when $3 = '' then null else stream_now() end where id = $1;

-- name: comment_task
insert into task_comment (task, at, actor, text) values ($1, stream_now(), $2, $3);

-- name: notices
-- What owners are to be told by webhooks and logs, of an owner, of a status (null: any), or one by its id, the latest first.
select
    id, machine, entity_id, owner, channel, target, type, status, attempts, written_at as written, next_at as next, settled_at as settled, error, key,
    correlation_id, body
from notification
where ($1::bigint is null or id = $1) and ($2::text is null or owner = $2) and ($3::text is null or status = $3)
order by id desc limit $4;

-- name: notices_open
-- How many owners have not been told, and since when.
select status, owner, count(*) as n, min(written_at) as oldest, max(error) as error
from notification where status in ('waiting', 'failed') group by status, owner order by status, owner;

-- name: retry_notices
-- From now on they have a day again.
update notification set status = 'waiting', attempts = 0, next_at = clock_timestamp(), written_at = clock_timestamp(), settled_at = null
where id = any ($1::bigint[]) and status <> 'sent' returning id, machine, entity_id, owner;

-- name: cancel_notices
update notification set status = 'cancelled', settled_at = clock_timestamp()
where id = any ($1::bigint[]) and status in ('waiting', 'failed') returning id, machine, entity_id, owner;

-- name: entities_by_version
-- Entities by the version of the machine that wrote them last, and by state.
select machine, machine_version, state, count(*) as n from entity where version > 0 group by machine, machine_version, state
order by machine, machine_version, state;

-- name: moves_taken
-- How often entities moved from where, by what, to where.
select machine, from_state, event_type, to_state, count(*) as n from history
where outcome = 'applied' and machine = $1 and ($2::timestamptz is null or time >= $2)
group by machine, from_state, event_type, to_state order by from_state, event_type, to_state;

-- name: timers_by_name
-- Clocks, moves after a time and limits by name.
select machine, name, count(*) as n from timer group by machine, name order by machine, name;

-- name: data_of_entities
-- What entities of a machine know, in the order of their ids, after one of them: at most $4 bytes of it, or one.
with page as materialized (
    select id, sum(octet_length(data)) over (order by id) - octet_length(data) as before
    from (select id, data from entity where machine = $1 and id > $2 and version > 0 order by machine, id limit $3) first
)
select e.id, e.machine_version, e.data from page p join entity e on e.machine = $1 and e.id = p.id where p.before < $4 order by e.id;

-- name: entities_of_older_versions
-- Those that a version of the machine below $2 wrote last, in the order of their ids, after one of them: at most $5 bytes of data, or one.
with page as (
    select id, sum(octet_length(data)) over (order by id) - octet_length(data) as before
    from (
        select id, data from entity where machine = $1 and id > $3 and version > 0 and machine_version < $2 order by machine, id limit $4
    ) first
)
select id from page where before < $5 order by id;
