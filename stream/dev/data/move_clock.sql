-- name: move_clock
-- Put the movable clock ahead by $1 more, and say what it shows now; a negative interval moves it back.
-- Only tests and the local stack do this: leases and the age of a trace read another clock and stay true.
with moved as (update clock set ahead = ahead + $1 returning ahead)
select clock_timestamp() + ahead as now from moved
