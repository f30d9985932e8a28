-- What owners are to be told by a webhook or a log line: written with the state, sent by a notifier, and sent again until it arrives or is given up.
create table notification (
    id bigint generated always as identity primary key,
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    owner text not null,
    channel text not null,
    target text not null,
    secret text not null,
    private boolean not null,
    type text not null,
    body bytea not null,
    key text not null,
    correlation_id text not null,
    written_at timestamptz not null default clock_timestamp(),
    status text not null default 'waiting' check (status in ('waiting', 'sent', 'failed', 'cancelled')),
    attempts integer not null default 0,
    -- When it may be sent, or sent again: while somebody sends it, when that one is given up.
    next_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz,
    error text not null default ''
);
create index notification_next on notification (next_at, id) where status = 'waiting';
create index notification_failed on notification (id) where status = 'failed';
create index notification_settled on notification (settled_at) where status in ('sent', 'cancelled');

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
    execute format('grant insert on belonging, partition, inbox, inbox_1, inbox_2, entity, history, outbox, outbox_held, timer, waiting, dead_letter, door_count, audit, relay, instance, task, task_comment, notification to %I', role);
    execute format('grant update on partition, entity, outbox_position, outbox_held, timer, waiting, dead_letter, door_count, relay, instance, task, notification to %I', role);
    execute format('grant delete on timer, waiting, relay, instance, notification to %I', role);
    execute format('grant execute on function turn_inbox(interval), drop_outbox(bigint), drop_history(interval, bigint), make_ahead(bigint) to %I', role);
end $$;
revoke execute on function grant_worker from public;
