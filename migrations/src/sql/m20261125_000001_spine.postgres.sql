-- Tenants, endpoints, events and the engine that delivers them. Times are milliseconds since 1970, UTC.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
-- `partition` counts nothing: its row is what one node at a time holds while it makes partitions.
INSERT INTO counters (name, value) VALUES ('epoch', 0), ('endpoint', 0);

-- Uncached, so that a publish that starts after another's reply draws a larger number, on whichever node.
CREATE SEQUENCE event_seq AS BIGINT CACHE 1;

CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  display_name TEXT NOT NULL,
  state SMALLINT NOT NULL CHECK (state IN (1, 2, 3)),
  settings_version BIGINT NOT NULL,
  settings_time BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  create_time BIGINT NOT NULL,
  update_time BIGINT NOT NULL
);

CREATE INDEX tenants_settings ON tenants (settings_time);
CREATE INDEX tenants_deleting ON tenants (update_time) WHERE state = 2;

CREATE TABLE data_keys (
  tenant TEXT NOT NULL,
  number BIGINT NOT NULL,
  wrapped BYTEA NOT NULL,
  create_time BIGINT NOT NULL,
  PRIMARY KEY (tenant, number)
);

CREATE TABLE endpoints (
  key BIGINT PRIMARY KEY,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  url TEXT NOT NULL,
  display_name TEXT NOT NULL,
  description TEXT NOT NULL,
  event_types TEXT NOT NULL,
  headers BYTEA NOT NULL,
  retry_policy TEXT NOT NULL,
  attempt_timeout_ms BIGINT NOT NULL,
  max_in_flight INTEGER NOT NULL,
  permanent_statuses TEXT NOT NULL,
  state SMALLINT NOT NULL CHECK (state IN (1, 2, 3)),
  disabled_reason SMALLINT NOT NULL,
  revision BIGINT NOT NULL,
  create_time BIGINT NOT NULL,
  update_time BIGINT NOT NULL,
  delete_time BIGINT
);
CREATE UNIQUE INDEX endpoints_id ON endpoints (tenant, id) WHERE delete_time IS NULL;
CREATE INDEX endpoints_tenant ON endpoints (tenant, id);
CREATE INDEX endpoints_deleted ON endpoints (delete_time) WHERE delete_time IS NOT NULL;

CREATE TABLE endpoint_secrets (
  endpoint_key BIGINT NOT NULL,
  number BIGINT NOT NULL,
  sealed BYTEA NOT NULL,
  fingerprint TEXT NOT NULL,
  create_time BIGINT NOT NULL,
  expire_time BIGINT,
  PRIMARY KEY (endpoint_key, number)
);

CREATE TABLE endpoint_health (
  endpoint_key BIGINT PRIMARY KEY,
  last_success_time BIGINT,
  last_failure_time BIGINT,
  consecutive_failures INTEGER NOT NULL,
  hold_until_time BIGINT
);
CREATE INDEX endpoint_health_hold ON endpoint_health (hold_until_time) WHERE hold_until_time IS NOT NULL;

CREATE TABLE endpoint_minutes (
  endpoint_key BIGINT NOT NULL,
  minute BIGINT NOT NULL,
  succeeded_count BIGINT NOT NULL,
  failed_count BIGINT NOT NULL,
  total_ms BIGINT NOT NULL,
  max_ms BIGINT NOT NULL,
  PRIMARY KEY (endpoint_key, minute)
);
CREATE INDEX endpoint_minutes_age ON endpoint_minutes (minute);

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  display_name TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  create_time BIGINT NOT NULL,
  expire_time BIGINT,
  revoke_time BIGINT,
  last_use_time BIGINT
);

CREATE TABLE requests (
  tenant TEXT NOT NULL,
  method TEXT NOT NULL,
  request_id TEXT NOT NULL,
  hash BYTEA NOT NULL,
  response BYTEA NOT NULL,
  create_time BIGINT NOT NULL,
  PRIMARY KEY (tenant, method, request_id)
);
CREATE INDEX requests_age ON requests (create_time);

-- One row an epoch. Every publish, outcome and control commit share-locks its own epoch's row; taking the epoch away updates it.
CREATE TABLE nodes (
  epoch BIGINT PRIMARY KEY,
  node TEXT NOT NULL,
  state SMALLINT NOT NULL CHECK (state IN (1, 2, 3)),
  start_time BIGINT NOT NULL,
  end_time BIGINT,
  adopted_seq BIGINT NOT NULL
);

-- Apart from nodes, as a beat must not wait for commits.
CREATE TABLE beats (
  epoch BIGINT PRIMARY KEY,
  beat BIGINT NOT NULL,
  low_water_seq BIGINT NOT NULL,
  beat_time BIGINT NOT NULL
);

-- Rows that retention drops as a whole lie in partitions of ten million events; upkeep makes the next ones ahead of time and
-- `_rest` is there so that no insert can ever fail.
CREATE TABLE events (
  seq BIGINT PRIMARY KEY,
  tenant TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  subject_hash BYTEA NOT NULL,
  tags TEXT NOT NULL,
  ordering_key TEXT NOT NULL,
  occurred_time BIGINT NOT NULL,
  create_time BIGINT NOT NULL,
  txn TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  delivery_count INTEGER NOT NULL,
  payload BYTEA NOT NULL,
  trace_context TEXT NOT NULL
) PARTITION BY RANGE (seq);
CREATE TABLE events_p0 PARTITION OF events FOR VALUES FROM (MINVALUE) TO (10000000);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_tenant ON events (tenant, seq);

CREATE TABLE event_keys (
  tenant TEXT NOT NULL,
  kind SMALLINT NOT NULL,
  id TEXT NOT NULL,
  event_seq BIGINT NOT NULL,
  event_id TEXT NOT NULL,
  hash BYTEA NOT NULL,
  delivery_count INTEGER NOT NULL,
  skipped_count INTEGER NOT NULL,
  create_time BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, id)
);
CREATE INDEX event_keys_requests ON event_keys (create_time) WHERE kind = 2;

-- No index on anything that changes, and room on each page: updates stay heap-only.
CREATE TABLE deliveries (
  event_seq BIGINT NOT NULL,
  endpoint_key BIGINT NOT NULL,
  part SMALLINT NOT NULL,
  state SMALLINT NOT NULL CHECK (state IN (1, 2, 4, 5, 6)),
  revision INTEGER NOT NULL,
  attempt_count INTEGER NOT NULL,
  last_class SMALLINT NOT NULL,
  last_status SMALLINT NOT NULL,
  last_ms INTEGER NOT NULL,
  update_time BIGINT NOT NULL,
  owner_epoch BIGINT,
  PRIMARY KEY (event_seq, endpoint_key, part)
) PARTITION BY RANGE (event_seq);
CREATE TABLE deliveries_p0 PARTITION OF deliveries FOR VALUES FROM (MINVALUE) TO (10000000) WITH (fillfactor = 60);
CREATE TABLE deliveries_rest PARTITION OF deliveries DEFAULT WITH (fillfactor = 60);

-- Every delivery that is neither fresh nor finished well. `due` is when anybody may next act on it: a lease moves it to its end,
-- a dead letter has none.
CREATE TABLE backlog (
  event_seq BIGINT NOT NULL,
  endpoint_key BIGINT NOT NULL,
  part SMALLINT NOT NULL,
  state SMALLINT NOT NULL CHECK (state IN (1, 2, 5)),
  priority SMALLINT NOT NULL,
  due BIGINT,
  lease_epoch BIGINT,
  lease_token BIGINT NOT NULL,
  attempt_count INTEGER NOT NULL,
  schedule_attempts INTEGER NOT NULL,
  loss_count INTEGER NOT NULL,
  ordering_key TEXT NOT NULL,
  PRIMARY KEY (event_seq, endpoint_key, part)
);
CREATE INDEX backlog_due ON backlog (endpoint_key, priority, due) WHERE due IS NOT NULL;
CREATE INDEX backlog_state ON backlog (endpoint_key, state, event_seq);
CREATE INDEX backlog_order ON backlog (endpoint_key, ordering_key, event_seq) WHERE ordering_key <> '';
CREATE INDEX backlog_lease ON backlog (lease_epoch) WHERE lease_epoch IS NOT NULL;

CREATE TABLE attempts (
  event_seq BIGINT NOT NULL,
  endpoint_key BIGINT NOT NULL,
  part SMALLINT NOT NULL,
  number INTEGER NOT NULL,
  class SMALLINT NOT NULL,
  status SMALLINT NOT NULL,
  end_time BIGINT NOT NULL,
  total_ms INTEGER NOT NULL,
  dns_ms INTEGER,
  connect_ms INTEGER,
  first_byte_ms INTEGER,
  address TEXT NOT NULL,
  response BYTEA NOT NULL,
  PRIMARY KEY (event_seq, endpoint_key, part, number)
) PARTITION BY RANGE (event_seq);
CREATE TABLE attempts_p0 PARTITION OF attempts FOR VALUES FROM (MINVALUE) TO (10000000);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT;

CREATE TABLE journal (
  epoch BIGINT NOT NULL,
  lane SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  commit_time BIGINT NOT NULL,
  changes BYTEA NOT NULL,
  PRIMARY KEY (epoch, lane, seq, tenant)
);
CREATE INDEX journal_tenant ON journal (tenant, epoch, lane, seq);
