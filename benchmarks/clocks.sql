-- Looks at the clocks of one machine. `history.time` is when a rung fell due, `at` when it was told, both by the movable clock.

-- name: born
-- How many entities of a machine there are.
select count(*) as n from entity where machine = $1 and version > 0;

-- name: told
-- How many rungs of a kind were told.
select count(*) as n from history where machine = $1 and event_type = $2;

-- name: rungs
-- Of one kind: how many were told, of how many entities, how many before they were due, and how late they were, in seconds.
select
    count(*) as told, count(distinct entity_id) as entities, count(*) filter (where at < time) as early,
    percentile_disc(array[0.5, 0.99, 1]) within group (order by extract(epoch from at - time)::float8) as late
from history where machine = $1 and event_type = $2;

-- name: now
-- The movable clock.
select stream_now() as now;
