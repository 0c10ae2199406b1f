-- What runs cost, for sums over the whole history. The columns are computed from `result`, which stays the only place that
-- has them, and are kept in the index: a sum reads no texts and parses no JSON. With `json_valid`, a result that SQLite
-- does not accept as JSON (such as NaN) can be saved all the same.

ALTER TABLE run ADD COLUMN ended REAL                    -- seconds since 1970
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.ended') END);
ALTER TABLE run ADD COLUMN waited_s REAL                 -- until the request was sent
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.waited_s') END);
ALTER TABLE run ADD COLUMN prompt_tokens
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.prompt_tokens') END);
ALTER TABLE run ADD COLUMN cached_tokens
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.cached_tokens') END);
ALTER TABLE run ADD COLUMN completion_tokens             -- not NULL if there are metrics
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.completion_tokens') END);
ALTER TABLE run ADD COLUMN estimated                     -- 1: the engine did not count the tokens of the completion
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.estimated') END);
ALTER TABLE run ADD COLUMN shared                        -- 1: another run used the same server or this machine
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.shared') END);
ALTER TABLE run ADD COLUMN joules
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.energy.joules') END);
ALTER TABLE run ADD COLUMN devices                       -- JSON: the names of the devices whose energy was counted
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.energy.devices') END);

CREATE INDEX run_costs ON run (
  engine, devices, started, ended, waited_s, prompt_tokens, cached_tokens, completion_tokens, estimated, shared, joules
) WHERE state != 'running';
