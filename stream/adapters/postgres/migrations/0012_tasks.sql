-- Tasks: questions to people. One is opened with the move that asks it, under its entity's lock, and closed with the one that ends it.
create table task (
    id bigint generated always as identity primary key,
    machine text collate "C" not null,
    entity_id text collate "C" not null,
    name text not null,
    state text not null,
    question text not null,
    owner text not null,
    answers text[] not null,
    reasons text[] not null,
    opened_at timestamptz not null,
    status text not null default 'open' check (status in ('open', 'answered', 'closed')),
    assignee text not null default '',
    claimed_at timestamptz,
    answer text,
    closed_by text,
    closed_at timestamptz,
    reason text not null default '',
    comment text not null default ''
);
create unique index task_open on task (machine, entity_id, name) where status = 'open';
create index task_of_owner on task (owner, opened_at) where status = 'open';
create index task_of_entity on task (machine, entity_id, id);

create table task_comment (
    task bigint not null references task,
    id bigint generated always as identity,
    at timestamptz not null,
    actor text not null,
    text text not null,
    primary key (task, id)
);

-- What a worker may do with tables that came after the others. Each migration that adds one says it again, whole.
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
    execute format('grant insert on belonging, partition, inbox, inbox_1, inbox_2, entity, history, outbox, outbox_held, timer, waiting, dead_letter, door_count, audit, relay, instance, task, task_comment to %I', role);
    execute format('grant update on partition, entity, outbox_position, outbox_held, timer, waiting, dead_letter, door_count, relay, instance, task to %I', role);
    execute format('grant delete on timer, waiting, relay, instance to %I', role);
    execute format('grant execute on function turn_inbox(interval), drop_outbox(bigint), drop_history(interval, bigint), make_ahead(bigint) to %I', role);
end $$;
revoke execute on function grant_worker from public;
