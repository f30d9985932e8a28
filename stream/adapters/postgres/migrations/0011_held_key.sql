-- A line of held messages is found by its key, which may be as large as a record: more than a row of a b-tree takes. A hash takes any, and the
-- rows of a line are few.
drop index outbox_held_line;
create index outbox_held_line on outbox_held using hash (key) where status in ('open', 'retrying');
