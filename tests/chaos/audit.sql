-- What the oracles need to see from outside: every move of a partition's position, with the epoch it was made under.

-- name: watch_moves
-- Tests alone add this to a database of theirs; the library knows nothing of it.
create table chaos_move (
    id bigint generated always as identity primary key,
    topic text not null, partition integer not null, epoch bigint not null, before bigint not null, after bigint not null, owner text not null,
    at timestamptz not null default clock_timestamp()
);
create function note_move() returns trigger language plpgsql security definer set search_path from current as $$
begin
    insert into chaos_move (topic, partition, epoch, before, after, owner)
        values (new.topic, new.partition, new.epoch, old.next_offset, new.next_offset, new.owner);
    return null;
end $$;
create trigger note_move after update of next_offset on partition for each row when (old.next_offset <> new.next_offset) execute function note_move();

-- name: moves
select topic, partition, epoch, before, after, owner, at from chaos_move order by id;

-- name: standing
-- Where every partition stands.
select * from partition order by topic, partition;

-- name: entities
select machine, id, version, state, since, data, n, chain from entity where version > 0 or n > 0;

-- name: history
select
    machine, entity_id, n, outcome, reason, event_id, event_type, source, actor, from_state, to_state, time, at,
    correlation_id, causation_id, trace_id, door, error, coalesce(clocks, '') as clocks, hash
from history order by machine, entity_id, n;

-- name: messages
select seq, machine, entity_id, topic, key, value, headers, message_id, type from outbox order by seq;

-- name: waiting
select id, machine, entity_id, outcome, reason, event_id, value from waiting order by id;

-- name: letters
select topic, partition, "offset", reason, event_id, event_type, machine, entity_id, value from dead_letter order by id;

-- name: timers
select machine, entity_id, name, due_at from timer where due_at is not null;

-- name: inbox
select count(*) as n from (select key from inbox union all select key from inbox_1 union all select key from inbox_2) seen;

-- name: held
select seq, topic, reason from outbox_held;

-- name: due
-- Timers that are left up to an instant of the movable clock.
select count(*) as n from timer where due_at <= stream_now();

-- name: parked
-- Parked entities, each with the event at the head of its line.
select distinct on (machine, entity_id) machine, entity_id, id, event_type, reason
from waiting where outcome = 'parked' order by machine, entity_id, id;

-- name: end_backends
-- Ends connections as an administrator would, but for our own: all, or about one in `$1`.
select pg_terminate_backend(pid) from pg_stat_activity
where pid <> pg_backend_pid() and backend_type = 'client backend' and application_name like 'w%' and random() * $1 < 1;

-- name: written
-- How many messages were ever written to the outbox.
select count(*) as n from outbox;

-- name: leases
select shard, owner from outbox_position where leased_until > clock_timestamp();
