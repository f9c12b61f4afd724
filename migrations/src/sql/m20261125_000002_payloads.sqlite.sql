-- What shapes an endpoint's payloads, the event types that tenants register, and the keys that sign security event tokens.
-- The release before ignores the columns: each has the value that means what that release does. Other values may be set once no node of
-- that release is left, as it would send what a policy withholds.

ALTER TABLE endpoints ADD COLUMN hooks_only BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE endpoints ADD COLUMN filter TEXT NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN format SMALLINT NOT NULL DEFAULT 1;
ALTER TABLE endpoints ADD COLUMN field_policy TEXT NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN transform TEXT NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN encryption TEXT NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN set_options TEXT NOT NULL DEFAULT '';
ALTER TABLE endpoints ADD COLUMN paused_reason SMALLINT NOT NULL DEFAULT 0;

ALTER TABLE attempts ADD COLUMN detail TEXT NOT NULL DEFAULT '';

-- One row a type; a deleted one stays, so that its versions are never counted anew.
CREATE TABLE event_types (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  example TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  revision BIGINT NOT NULL,
  create_time BIGINT NOT NULL,
  update_time BIGINT NOT NULL,
  delete_time BIGINT,
  PRIMARY KEY (tenant, name)
);

CREATE TABLE event_type_versions (
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  schema_version INTEGER NOT NULL,
  schema TEXT NOT NULL,
  PRIMARY KEY (tenant, name, schema_version)
);

CREATE TABLE signing_keys (
  tenant TEXT NOT NULL,
  number BIGINT NOT NULL,
  sealed BLOB NOT NULL,
  key_id TEXT NOT NULL,
  public_jwk TEXT NOT NULL,
  create_time BIGINT NOT NULL,
  activate_time BIGINT NOT NULL,
  expire_time BIGINT,
  PRIMARY KEY (tenant, number)
);
CREATE INDEX signing_keys_age ON signing_keys (expire_time) WHERE expire_time IS NOT NULL;
