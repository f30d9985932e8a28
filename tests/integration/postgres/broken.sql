-- Statements of the store with one protecting rule taken out each: the race tests must fail with them.

-- name: entities_without_lock
select
    e.machine, e.id, e.version, e.machine_version, e.state, e.data, e.since, e.time, e.n, e.last_id, e.chain, e.sequences, e.holds, e.number
from unnest($1::text[], $2::text[]) as x (machine, id)
join entity e on e.machine = x.machine and e.id = x.id
order by e.machine, e.id;

-- name: no_stubs
-- Takes the arguments, does nothing.
select from unnest($1::text[], $2::text[]) as x (machine, id) where false;

-- name: stubs_and_lock_at_once
with stubs as (
    insert into entity (machine, id)
    select x.machine, x.id from unnest($1::text[], $2::text[]) as x (machine, id) order by 1, 2
    on conflict (machine, id) do nothing
)
select
    e.machine, e.id, e.version, e.machine_version, e.state, e.data, e.since, e.time, e.n, e.last_id, e.chain, e.sequences, e.holds, e.number
from unnest($1::text[], $2::text[]) as x (machine, id)
join entity e on e.machine = x.machine and e.id = x.id
order by e.machine, e.id
for update of e;

-- name: save_entities_unguarded
update entity e
set version = x.version, state = x.state, n = x.n, last_id = x.last_id
from unnest($1::entity_row_14[]) as x
where e.machine = x.machine and e.id = x.id;

-- name: claim_without_epoch
select p.topic, p.partition, p.stream_time
from partition p
join unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) as x (topic, partition, epoch, start)
    on p.topic = x.topic and p.partition = x.partition
where p.next_offset = x.start
order by p.topic, p.partition
for update of p;

-- name: claim_without_position
select p.topic, p.partition, p.stream_time
from partition p
join unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) as x (topic, partition, epoch, start)
    on p.topic = x.topic and p.partition = x.partition
where p.epoch = x.epoch
order by p.topic, p.partition
for update of p;

-- name: move_without_fence
update partition p
set next_offset = x.next_offset
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::timestamptz[])
    as x (topic, partition, epoch, start, next_offset, last_offset, fingerprint, stream_time)
where p.topic = x.topic and p.partition = x.partition
    and ($9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[]) is not null
    and ($17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[]) is not null;

-- name: read_after_seq
-- A cursor over the sequence instead of two snapshots.
select
    pg_current_snapshot()::text as hi, false as half, false as again, o.seq, o.topic, o.key, o.value, o.headers, false as held, 0 as n
from outbox_position p
left join lateral (
    select n.* from outbox n where n.shard = p.shard and n.seq > p.seq order by n.seq limit $4
) o on true
where p.shard = $1 and p.epoch = $2 and p.owner = $3 and $5::bigint > 0
order by o.seq;

-- name: move_after_seq
update outbox_position
set seq = greatest(seq, $5)
where shard = $1 and epoch = $2 and owner = $3 and $4::text is not null and $6::boolean is not null;

-- name: outcome_unasked
select null::text as status where $1::text is not null;

-- name: begin_unlocked
begin;

-- name: waiting_backends
select count(*)::integer as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock';
