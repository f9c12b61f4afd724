WITH input (id) AS (/*rows*/)
SELECT tenants.id, tenants.state, tenants.settings_version FROM input JOIN tenants ON tenants.id = input.id
