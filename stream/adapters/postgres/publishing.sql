-- The statements of the outbox and the timetable: what is unsent, what is due, and what is turned when it grows.

-- name: times
-- Both clocks.
select stream_now() as now, clock_timestamp() as clock;

-- name: see_relay
-- Keeps `$1` among the relays for `$2`; says how many others there are, and how many of them came before.
with me as (
    insert into relay (owner, seen_until) values ($1, clock_timestamp() + $2)
    on conflict (owner) do update set seen_until = excluded.seen_until
    returning joined
)
select count(r.owner)::integer as others, (count(*) filter (where r.joined < me.joined))::integer as earlier
from me left join relay r on r.owner <> $1 and r.seen_until > clock_timestamp();

-- name: forget_relays
-- Takes `$1` and those that were not seen any more from the list; who is just being seen again stays.
delete from relay where owner in (
    select owner from relay where owner = $1 or seen_until < clock_timestamp() order by owner for update skip locked
);

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

-- name: renew_shards
-- Prolongs what is held under a known epoch.
update outbox_position p
set leased_until = clock_timestamp() + $4
from unnest($2::smallint[], $3::bigint[]) as k (shard, epoch)
where p.shard = k.shard and p.epoch = k.epoch and p.owner = $1;

-- name: release_shards
-- Lets go of what `$1` holds, except the shards named.
update outbox_position set owner = '', leased_until = '-infinity' where owner = $1 and shard <> all ($2::smallint[]);

-- name: read_shard
-- What `hi` sees and `lo` does not, after `seq`, in the order of `seq`; without an unfinished `hi`, the present snapshot becomes it. At most `$4` rows,
-- and none after the one with which they weigh `$5` bytes; `n` is how many there were before they were weighed.
-- One row with a null seq says that the lease is held and nothing is unsent. `half`: the pass was begun before. `held`: there is a line of its key.
-- `again`: lines are on their way, which come first; nothing else is read then.
with place as materialized (
    select
        shard, lo, coalesce(hi, pg_current_snapshot()) as hi, hi is not null as half, case when hi is null then 0 else seq end as seq,
        exists (select from outbox_held h where h.shard = $1 and h.status = 'retrying') as again
    from outbox_position
    where shard = $1 and epoch = $2 and owner = $3 and leased_until > clock_timestamp()
)
select
    p.hi::text as hi, p.half, p.again, o.n, o.seq, o.topic, o.key, o.value, o.headers,
    exists (select from outbox_held h where h.topic = o.topic and h.key = o.key and h.status in ('open', 'retrying')) as held
from place p
left join lateral (
    select w.*, count(*) over () as n, sum(w.size) over (order by w.seq) - w.size as before from (
        select n.*, octet_length(n.value) + octet_length(n.key) as size from (
            select r.* from outbox r where r.shard = p.shard and r.xid >= pg_snapshot_xmax(p.lo)
            union all
            select r.* from outbox r where r.shard = p.shard and r.xid = any (array(select pg_snapshot_xip(p.lo)))
        ) n
        where n.seq > p.seq and pg_visible_in_snapshot(n.xid, p.hi) and not p.again
        order by n.seq
        limit $4
    ) w
) o on o.before < $5
order by o.seq;

-- name: read_lines
-- The lines of a shard that are on their way, from their first messages on; as many as of unsent ones.
select w.* from (
    select l.*, sum(l.size) over (order by l.seq) - l.size as before from (
        select h.seq, h.topic, h.key, h.value, h.headers, octet_length(h.value) + octet_length(h.key) as size
        from (select distinct topic, key from outbox_held where shard = $1 and status = 'retrying') x
        join outbox_held h on h.topic = x.topic and h.key = x.key and h.status in ('open', 'retrying')
        order by h.seq limit $2
    ) l
) w
where w.before < $3
order by w.seq;

-- name: fence_shard
-- Locks the position as long as the epoch is ours, before what depends on it is written.
select shard from outbox_position where shard = $1 and epoch = $2 and owner = $3 for update;

-- name: move_shard
-- Moves the position on, as long as the epoch is ours: within the pair of snapshots, or to a finished one.
update outbox_position
set lo = case when $6 then $4::text::pg_snapshot else lo end,
    hi = case when $6 then null else $4::text::pg_snapshot end,
    seq = case when $6 then 0 else $5 end
where shard = $1 and epoch = $2 and owner = $3;

-- name: lock_lines
-- Whoever changes a line has all of it; relays lock their position before. What is decided by it is read in a later statement.
select h.seq
from unnest($1::text[], $2::bytea[]) as x (topic, key)
join outbox_held h on h.topic = x.topic and h.key = x.key and h.status in ('open', 'retrying')
order by h.seq for update of h;

-- name: hold
-- Copies messages to the end of their lines. A position that was set back by hand meets some that are there already.
insert into outbox_held (seq, shard, topic, key, value, headers, reason, error, attempts, held_at)
select o.seq, o.shard, o.topic, o.key, o.value, o.headers, x.reason, x.error, case when x.reason = 'behind' then 0 else 1 end, stream_now()
from unnest($1::bigint[], $2::text[], $3::text[]) as x (seq, reason, error)
join outbox o on o.seq = x.seq
order by o.seq
on conflict (seq) do nothing;

-- name: follow_lines
-- Sends lines on their way whose first message was never refused itself: what stood before it is gone. `$3`: also those where it was.
update outbox_held set status = 'retrying'
where seq in (
    select first.seq from (
        select distinct on (h.topic, h.key) h.seq, h.status, h.attempts
        from unnest($1::text[], $2::bytea[]) as x (topic, key)
        join outbox_held h on h.topic = x.topic and h.key = x.key and h.status in ('open', 'retrying')
        order by h.topic, h.key, h.seq
    ) first
    where first.status = 'open' and (first.attempts = 0 or $3)
);

-- name: settle_sent
-- After the acknowledgement: what was settled by an instant was on its topic by then.
update outbox_held set status = 'sent', settled_at = clock_timestamp() where seq = any ($1::bigint[]);

-- name: refuse_again
update outbox_held h
set reason = x.reason, error = x.error, attempts = h.attempts + 1
from unnest($1::bigint[], $2::text[], $3::text[]) as x (seq, reason, error)
where h.seq = x.seq;

-- name: stop_lines
-- The attempt of these lines is over.
update outbox_held h set status = 'open'
from unnest($1::text[], $2::bytea[]) as x (topic, key)
where h.topic = x.topic and h.key = x.key and h.status = 'retrying';

-- name: places_of_held
select topic, key from outbox_held where seq = any ($1::bigint[]);

-- name: lines_of_held
-- Of each held message: what became of it, the first one of its line, and whether the line is on its way.
select a.seq, a.status, a.topic, a.key, min(h.seq) as first, coalesce(bool_or(h.status = 'retrying'), false) as retrying
from outbox_held a
left join outbox_held h on h.topic = a.topic and h.key = a.key and h.status in ('open', 'retrying')
where a.seq = any ($1::bigint[])
group by a.seq order by a.seq;

-- name: retry_held
update outbox_held set status = 'retrying' where seq = any ($1::bigint[]);

-- name: drop_held
update outbox_held set status = 'dropped', settled_at = clock_timestamp() where seq = $1;

-- name: note_held
-- What was ordered of held messages, a line each.
insert into audit (actor, action, target, reason) select $1, $2, 'message ' || seq, $4 from unnest($3::bigint[]) as x (seq);

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
-- Entities with a timer that is due, the earliest first. No lock: whether it still is there is seen under its entity's lock. Of each machine the
-- first `$3` timers are read, of which several may be one entity's; `n` is how many were.
select d.machine, d.entity_id, min(d.due_at) as due, count(*) as n
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

-- name: lease_notices
-- The longest due, for whoever asks; `next_at` is when they are due again, should nobody settle them. Rows that somebody else takes are left to him.
with due as (
    select id from notification
    where status = 'waiting' and next_at <= clock_timestamp() and not target = any ($3::text[])
    order by next_at, id limit $2 for update skip locked
)
update notification n
set attempts = n.attempts + 1, next_at = clock_timestamp() + $1::interval
from due where n.id = due.id
returning n.id, n.attempts, n.machine, n.entity_id, n.owner, n.channel, n.target, n.secret, n.private, n.type, n.body, n.key, n.correlation_id;

-- name: settle_notice
-- Sent is sent, whoever sent it. Else it waits twice as long as before, up to an hour, spread by its number so that they do not come back together;
-- after a day it is given up. Whoever was given up as a sender has no say in that.
update notification
set status = case when $3::text = 'sent' then 'sent' when $3 = 'never' or written_at < clock_timestamp() - interval '1 day' then 'failed' else 'waiting' end,
    error = $4,
    settled_at = case when $3 = 'again' and written_at >= clock_timestamp() - interval '1 day' then null else clock_timestamp() end,
    next_at = clock_timestamp() + greatest($5::interval, least(2 ^ least(attempts, 12), 3600) * (0.75 + id % 100 / 200.0) * interval '1 second')
where id = $1 and status = 'waiting' and ($3 = 'sent' or attempts = $2);

-- name: drop_notices
-- What was sent or cancelled two weeks ago is gone; what failed stays until a person says what becomes of it.
with gone as (
    delete from notification where id in (
        select id from notification where status in ('sent', 'cancelled') and settled_at < clock_timestamp() - interval '14 days' limit 10000
    )
    returning id
)
select case when count(*) > 0 then array[format('dropped %s notices', count(*))] else '{}'::text[] end as done from gone;
