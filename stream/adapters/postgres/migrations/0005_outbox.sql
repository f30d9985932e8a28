-- Relays that share the outbox, and held messages that can be sent again or dropped.

-- Who publishes: a process is a relay as long as it was seen lately. The order of `joined` decides who has a shard more than the others.
create table relay (
    owner text primary key,
    joined bigint generated always as identity,
    seen_until timestamptz not null
) with (fillfactor = 50);

-- A line is the held messages of one topic and key that are open or retrying, in the order of `seq`. `retrying`, of one row, is an order
-- to the relay of the shard: send the line from its first row on. `attempts`: how often the broker refused this one; 0 is only behind another.
alter table outbox_held
    drop constraint outbox_held_status_check,
    add constraint outbox_held_status_check check (status in ('open', 'retrying', 'sent', 'dropped')),
    add column attempts integer not null default 0,
    add column settled_at timestamptz;
drop index outbox_held_open;
create index outbox_held_line on outbox_held (topic, key, seq) where status in ('open', 'retrying');
create index outbox_held_retrying on outbox_held (shard) where status = 'retrying';

comment on function drop_outbox(bigint) is
    'Drops the oldest outbox partition that is full and was passed by the lo of every shard. Held messages do not keep it: they were copied to '
    'outbox_held in the transaction that moved the position past them.';

create or replace function grant_worker(role name) returns void
language plpgsql
set search_path from current
as $$
declare
    home text := current_schema();
begin
    execute format('grant usage on schema %I to %I', home, role);
    execute format('grant usage on all sequences in schema %I to %I', home, role);
    execute format('grant select on all tables in schema %I to %I', home, role);
    execute format('grant insert on belonging, partition, inbox, inbox_1, inbox_2, entity, history, outbox, outbox_held, timer, waiting, dead_letter, door_count, audit, relay to %I', role);
    execute format('grant update on partition, entity, outbox_position, outbox_held, timer, waiting, dead_letter, door_count, relay to %I', role);
    execute format('grant delete on timer, waiting, relay to %I', role);
    execute format('grant execute on function turn_inbox(interval), drop_outbox(bigint), drop_history(interval, bigint), make_ahead(bigint) to %I', role);
end $$;
