-- What the demo tells beside what `stream status` tells.

-- name: taken_at
-- When the database's clock stood where, in the transaction that took an event; the first of them where it concerned several entities.
select event_id, min(at) as at from history where event_id = any($1::text[]) group by event_id;

-- name: said
-- Messages that left, by topic and type.
select topic, type, count(*) as n from outbox group by topic, type order by topic, type;

-- name: rejected
select machine, from_state, event_type, reason, count(*) as n from history where outcome = 'rejected'
group by machine, from_state, event_type, reason order by n desc, machine, from_state, event_type limit 8;

-- name: letters
select reason, count(*) as n from dead_letter where machine is null group by reason order by reason;
