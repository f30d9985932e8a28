-- The tables of one application and consumer group. Names carry no schema: the connection's search_path says where they are.

-- The movable clock: one row, nothing but tests and the local stack ever changes it.
create table clock (
    only_row boolean primary key default true check (only_row),
    ahead interval not null default interval '0'
);
insert into clock default values;

create function stream_now() returns timestamptz
language sql stable parallel safe
return clock_timestamp() + (select ahead from clock);

-- Whose tables these are; written by the first start, compared by every later one.
create table belonging (
    only_row boolean primary key default true check (only_row),
    app text not null,
    consumer_group text not null
);

-- Where a topic partition stands, who has it, and what became of its records. Both identities hold at every commit.
create table partition (
    topic text collate "C" not null,
    partition integer not null,
    epoch bigint not null,
    next_offset bigint not null,
    last_offset bigint,
    fingerprint bytea,
    stream_time timestamptz,
    drained_at timestamptz,
    owner text not null,
    generation bigint not null,
    seen_at timestamptz not null,
    records bigint not null default 0,
    admitted bigint not null default 0,
    duplicate bigint not null default 0,
    conflict bigint not null default 0,
    dead bigint not null default 0,
    skipped bigint not null default 0,
    concerned bigint not null default 0,
    applied bigint not null default 0,
    ignored bigint not null default 0,
    deferred bigint not null default 0,
    rejected bigint not null default 0,
    parked bigint not null default 0,
    unrouted bigint not null default 0,
    drained bigint not null default 0,
    fired bigint not null default 0,
    primary key (topic, partition),
    constraint every_record_has_a_verdict check (admitted + duplicate + conflict + dead + skipped = records),
    constraint every_entity_has_an_outcome check (applied + ignored + deferred + rejected + parked = concerned)
) with (fillfactor = 50);

create table door_count (
    door text not null,
    name text not null,
    n bigint not null default 0,
    primary key (door, name)
) with (fillfactor = 50);

-- Identities seen, in three generations by arrival; rotate() turns them round by renaming, under a lock that keeps writers out.
create table inbox (key uuid primary key, content uuid not null);
create table inbox_1 (key uuid primary key, content uuid not null);
create table inbox_2 (key uuid primary key, content uuid not null);

create table inbox_opened (
    only_row boolean primary key default true check (only_row),
    at timestamptz not null
);
insert into inbox_opened (at) values (clock_timestamp());

-- The newest business time per topic when a generation was closed (1: inbox_1, 2: inbox_2).
create table inbox_closed (
    generation smallint not null,
    topic text collate "C" not null,
    newest timestamptz not null,
    primary key (generation, topic)
);

-- What the last dropped generation left: identities up to this business time may be forgotten.
create table floor (
    topic text collate "C" primary key,
    time timestamptz not null
);

-- An entity now. Version 0 is a stub: there is always a row to lock. `holds`: 1 timers, 2 a line. No index on what changes.
create table entity (
    machine text collate "C" not null,
    id text collate "C" not null,
    version bigint not null default 0,
    machine_version integer not null default 1,
    state text not null default '',
    data bytea not null default '',
    since timestamptz,
    time timestamptz,
    n bigint not null default 0,
    last_id bigint not null default 0,
    chain bytea not null default '',
    sequences bytea,
    fired bytea,
    holds smallint not null default 0,
    primary key (machine, id)
) with (fillfactor = 80);

-- Blocks of a thousand ids: a connection takes one and spends it, so a row knows its id, and its predecessor's, before it is written.
create sequence history_id as bigint increment by 1000 minvalue 1 cache 1;

create table history (
    id bigint not null,
    prev_id bigint not null,
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    n bigint not null,
    outcome text not null,
    reason text not null,
    event_id text not null,
    event_type text not null,
    source text not null,
    actor text not null,
    from_state text not null,
    to_state text not null,
    time timestamptz not null,
    at timestamptz not null,
    correlation_id text not null,
    causation_id text not null,
    trace_id text not null,
    door text not null,
    error text not null,
    hash bytea not null,
    primary key (id)
) partition by range (id);
create index history_correlation on history using hash (correlation_id);

-- Messages to publish, insert-only. `seq` is taken one by one under the emitting entity's lock, so it follows the commits of that entity.
create table outbox (
    seq bigint generated always as identity (cache 1),
    shard smallint not null,
    xid xid8 not null default pg_current_xact_id(),
    topic text not null,
    key bytea not null,
    value bytea not null,
    headers bytea not null,
    machine text not null,
    entity_id text not null,
    message_id text not null,
    type text not null,
    correlation_id text not null,
    written_at timestamptz not null,
    primary key (seq)
) partition by range (seq);
create index outbox_shard_xid on outbox (shard, xid);

-- How far a shard is published: everything `lo` sees, and of what `hi` sees everything up to `seq`. One relay at a time, by lease and epoch.
create table outbox_position (
    shard smallint primary key,
    epoch bigint not null default 0,
    owner text not null default '',
    leased_until timestamptz not null default '-infinity',
    lo pg_snapshot not null,
    hi pg_snapshot,
    seq bigint not null default 0
) with (fillfactor = 50);
-- Snapshot 1:1: sees nothing at all.
insert into outbox_position (shard, lo) select s, '1:1:' from generate_series(0, 15) s;

-- Messages the broker refused for good, and later ones of their key.
create table outbox_held (
    seq bigint primary key,
    shard smallint not null,
    topic text not null,
    key bytea not null,
    value bytea not null,
    headers bytea not null,
    reason text not null,
    error text not null,
    status text not null default 'open' check (status in ('open', 'sent', 'dropped')),
    held_at timestamptz not null
);
create index outbox_held_open on outbox_held (topic, key) where status = 'open';

create table timer (
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    name text collate "C" not null,
    due_at timestamptz not null,
    primary key (machine, entity_id, name)
);
create index timer_due on timer (machine, due_at);

-- The line of an entity: admitted events that wait, in the order of their id, with the record they came from.
create table waiting (
    id bigint generated always as identity (cache 1) primary key,
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    outcome text not null,
    reason text not null,
    event_id text not null,
    event_type text not null,
    correlation_id text not null,
    since timestamptz not null,
    until timestamptz,
    attempts integer not null,
    error text not null,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    timestamp bigint not null,
    key bytea,
    value bytea,
    headers bytea not null
);
create index waiting_entity on waiting (machine, entity_id, id);

create table dead_letter (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    status text not null default 'open' check (status in ('open', 'replayed', 'dropped')),
    reason text not null,
    error text not null,
    event_id text not null,
    event_type text not null,
    correlation_id text not null,
    trace_id text not null,
    machine text,
    entity_id text,
    admitted boolean not null,
    closed_by text,
    closed_at timestamptz,
    topic text not null,
    partition integer not null,
    "offset" bigint not null,
    timestamp bigint not null,
    key bytea,
    value bytea,
    headers bytea not null
);
create index dead_letter_open on dead_letter (id) where status = 'open';

-- What operators ordered: append-only.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    actor text not null,
    action text not null,
    target text not null,
    reason text not null default ''
);
