-- The statements of `stream outbox verify` over its temporary SQLite file: what stands on the topics, what the outbox says, and where they differ.
-- Times are milliseconds since the epoch. A finding has `proven` 0 where retention, or the age of the outbox, may be why.

-- name: make
-- `said`: how far the entity itself has counted. `trimmed`: something was deleted from the topic, so it proves only what was written from `since` on.
-- Of a message, `own` is 1 where the outbox has it, `kept` where the held ones do.
create table topic (name text primary key, trimmed integer not null, since integer not null);
create table lane (id integer primary key, topic text not null, emitter text not null, key blob not null, said integer not null default 0);
create unique index lane_named on lane (topic, emitter, key);
create table record (lane integer not null, number integer not null, id text not null, digest blob not null, partition integer not null, at integer not null);
create table message (
    seq integer primary key, lane integer not null, number integer not null, id text not null, digest blob not null, written integer not null,
    status text not null, own integer not null, kept integer not null
);
create table stranger (id text primary key, at_rowid integer not null, proven integer not null);

-- name: add_lane
insert into lane (topic, emitter, key) values (?, ?, ?) on conflict do nothing;

-- name: lane
select id from lane where topic = ? and emitter = ? and key = ?;

-- name: count_said
update lane set said = ? where id = ?;

-- name: add_records
insert into record values (?, ?, ?, ?, ?, ?);

-- name: add_messages
-- A message of the outbox.
insert into message values (?, ?, ?, ?, ?, ?, ?, 1, 0);

-- name: add_held
-- A held one; it outlives its partition of the outbox, and knows better what became of it.
insert into message values (?, ?, ?, ?, ?, ?, ?, 0, 1) on conflict (seq) do update set status = excluded.status, kept = 1;

-- name: add_topic
insert into topic values (?, ?, ?);

-- name: forget
-- What the outbox has dropped meanwhile, or is older than asked for, is not there to be compared.
delete from message where seq < ? and kept = 0;

-- name: forget_later
-- Held messages that the outbox would have, had they been committed before it was looked at, are later ones.
delete from message where seq >= ? and own = 0;

-- name: disown
-- The same of those that the held ones have.
update message set own = 0 where seq < ?;

-- name: first_since
-- The first message written at or after an instant.
select min(seq) from message where written >= ?;

-- name: reach
-- When the first message was written that the outbox still has.
select written from message where own = 1 order by seq limit 1;

-- name: index
create index record_id on record (id);
create index record_lane on record (lane, number);
create index message_id on message (id);
create index message_lane on message (lane, number);

-- name: find_strangers
-- Ids on topics that no message has. Not excused by the outbox's age (`?`: it has one) where the entity never said so many, or a message of the same
-- lane that is as old, or older, is still there.
insert into stranger
select r.id, min(r.rowid), max(
    ? = 0 or r.number = 0 or r.number > l.said
    or exists (select 1 from message m where m.lane = r.lane and m.number <= r.number and m.own = 1)
    or exists (select 1 from message m where m.lane = r.lane and m.number = r.number)
)
from record r join lane l on l.id = r.lane
where not exists (select 1 from message m where m.id = r.id)
group by r.id;

-- name: missing
-- What was committed and passed, and does not stand on its topic.
select m.written >= t.since as proven, l.topic, null as partition, null as at, m.seq, l.emitter, l.key, m.number, m.id, m.written
from message m join lane l on l.id = m.lane join topic t on t.name = l.topic
where m.status = 'due' and not exists (select 1 from record r where r.id = m.id)
order by m.seq;

-- name: uncommitted
-- What stands on a topic and was not committed.
select s.proven, l.topic, r.partition, r.at, null as seq, l.emitter, l.key, r.number, r.id, null as written
from stranger s join record r on r.rowid = s.at_rowid join lane l on l.id = r.lane
order by l.topic, r.partition, r.at;

-- name: changed
-- Records that say something else than the message of their id; of ids without one, those that say something else than the first of that id.
select 1 as proven, l.topic, r.partition, r.at, m.seq, l.emitter, l.key, r.number, r.id, m.written
from record r join lane l on l.id = r.lane join message m on m.id = r.id
where r.digest <> m.digest
union all
select 1, l.topic, r.partition, r.at, null, l.emitter, l.key, r.number, r.id, null
from stranger s join record r on r.id = s.id join record f on f.rowid = s.at_rowid join lane l on l.id = r.lane
where r.digest <> f.digest
order by 2, 3, 4;

-- name: reordered
-- First arrivals in a partition that come after a later one of their lane. A repeat of what was deleted looks like a first arrival: only what was
-- written since then proves it.
select t.trimmed = 0 or coalesce(f.written >= t.since, 0) as proven, l.topic, f.partition, f.at, f.seq, l.emitter, l.key, f.number, f.id, f.written
from (
    select
        x.*, max(x.number) over (partition by x.lane, x.partition order by x.at rows between unbounded preceding and 1 preceding) as before
    from (
        select coalesce(m.lane, r.lane) as lane, coalesce(m.number, r.number) as number, r.partition, r.id, min(r.at) as at, m.seq, m.written
        from record r left join message m on m.id = r.id left join stranger s on s.id = r.id
        where coalesce(s.proven, 0) = 0 and r.digest = coalesce(m.digest, r.digest)
        group by r.id, r.partition
    ) x
) f join lane l on l.id = f.lane join topic t on t.name = l.topic
where f.number < f.before
order by l.topic, f.partition, f.at;

-- name: twofold
-- Ids without a message that share a number of their lane.
select 1 as proven, l.topic, r.partition, max(r.at) as at, null as seq, l.emitter, l.key, r.number, max(r.id) as id, null as written
from record r join stranger s on s.id = r.id join lane l on l.id = r.lane
where s.proven = 0
group by r.lane, r.number having count(distinct r.id) > 1
order by l.topic, r.partition, 4;

-- name: gap
-- Numbers that an entity has said and that are neither in the outbox nor on the topic: from `number` up to `seq`. Excused where the outbox is too
-- young for them (`?`: something was dropped from it) and the topic too.
select
    not (? = 1 and t.trimmed = 1 and not exists (select 1 from message m where m.lane = g.lane and m.own = 1 and m.number < g.number)) as proven,
    l.topic, null as partition, null as at, g.last as seq, l.emitter, l.key, g.number, '' as id, null as written
from (
    select k.lane, coalesce(lag(k.number) over (partition by k.lane order by k.number), 0) + 1 as number, k.number - 1 as last
    from (
        select lane, number from message where number > 0
        union
        select r.lane, r.number from record r join lane l on l.id = r.lane where r.number between 1 and l.said
        union
        -- The end of what was said, where nothing known lies beyond it.
        select l.id, l.said + 1 from lane l where not exists (select 1 from message m where m.lane = l.id and m.number > l.said)
    ) k
) g join lane l on l.id = g.lane join topic t on t.name = l.topic
where g.number <= g.last
order by l.topic, l.emitter, l.key, g.number;

-- name: totals
-- Of each topic: its records and how many of them are repeats, and its messages by what became of them. One that is on its topic is no longer
-- unsent or held, whatever it was when this began.
select
    t.name as topic,
    (select count(*) from record r join lane l on l.id = r.lane where l.topic = t.name) as records,
    (select count(*) - count(distinct r.id) from record r join lane l on l.id = r.lane where l.topic = t.name) as repeats,
    count(m.seq) as messages,
    sum(coalesce(m.status = 'unsent' and not exists (select 1 from record r where r.id = m.id), 0)) as unsent,
    sum(coalesce(m.status = 'held' and not exists (select 1 from record r where r.id = m.id), 0)) as held,
    sum(coalesce(m.status = 'skipped', 0)) as skipped
from topic t left join lane l on l.topic = t.name left join message m on m.lane = l.id
group by t.name order by t.name;
