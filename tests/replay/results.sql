-- What a replay compares with the fold, read when everything is drained.

-- name: progress
-- Records taken so far, repeats among them, in the topics that we published to.
select coalesce(sum(records), 0)::bigint as records from partition where topic = any($1::text[]);

-- name: verdicts
select coalesce(sum(records), 0)::bigint as records, coalesce(sum(admitted), 0)::bigint as admitted, coalesce(sum(duplicate), 0)::bigint as duplicate,
    coalesce(sum(conflict), 0)::bigint as conflict, coalesce(sum(dead), 0)::bigint as dead
from partition;

-- name: states
select machine, id, state from entity where version > 0;

-- name: applied
-- By machine, what our own clocks noted left out.
select machine, count(*) as n from history where outcome = 'applied' and event_type <> all($1::text[]) group by machine;

-- name: rejected
select machine, from_state, event_type, reason, count(*) as n from history where outcome = 'rejected' group by machine, from_state, event_type, reason;

-- name: parked
select machine, count(*) as n from waiting where outcome = 'parked' group by machine;

-- name: noted
-- What became of clocks.
select machine, clocks from history where clocks is not null;

-- name: data
select machine, id, data from entity where version > 0;

-- name: due
-- Timers that the ticker has still to fire up to an instant.
select count(*) as n from timer where due_at <= $1;
