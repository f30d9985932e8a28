-- How urgent a question is, 1 first; and the inbox of an owner in that order.
alter table task add column priority smallint not null default 3 check (priority between 1 and 5);
drop index task_of_owner;
create index task_of_owner on task (owner, priority, opened_at) where status = 'open';
