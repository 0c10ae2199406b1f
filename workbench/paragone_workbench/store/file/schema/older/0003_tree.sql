-- One tree: runs with the run that they continue, lanes with the run that their path ends with, the system
-- prompt and the sampling with the prompt from which they applied. Also further columns of a run.

-- A run continues the lane's latest run for the nearest earlier prompt that the lane has answered.
ALTER TABLE run ADD COLUMN continues_id INTEGER REFERENCES run ON DELETE SET NULL;
ALTER TABLE run ADD COLUMN settings TEXT;                         -- JSON: what was in force
ALTER TABLE run ADD COLUMN cautions TEXT NOT NULL DEFAULT '[]';   -- JSON
ALTER TABLE run ADD COLUMN hint TEXT NOT NULL DEFAULT '';         -- what to do about the error
CREATE INDEX run_continues ON run (continues_id);

-- The walk up from a prompt ends at the first prompt that has a run of the lane: `run_id` is set there.
UPDATE run SET continues_id = (
  WITH RECURSIVE earlier (parent_id, run_id) AS (
    SELECT parent_id, NULL FROM prompt WHERE id = run.prompt_id
    UNION ALL
    SELECT prompt.parent_id, (
      SELECT max(before.id) FROM run AS before
      WHERE before.prompt_id = prompt.id AND before.lane_id = run.lane_id AND before.id < run.id
    )
    FROM earlier JOIN prompt ON prompt.id = earlier.parent_id
    WHERE earlier.run_id IS NULL
  )
  SELECT run_id FROM earlier WHERE run_id IS NOT NULL
);

ALTER TABLE lane ADD COLUMN head_id INTEGER REFERENCES run ON DELETE SET NULL;
CREATE INDEX lane_head ON lane (head_id);

-- The program showed the prompts from the first to the newest, with the latest run of each: the path ends with the
-- last of these runs. A lane with other runs, but none of these, ends with the latest run of its newest prompt.
UPDATE lane SET head_id = coalesce(
  (
    WITH RECURSIVE shown (parent_id, run_id) AS (
      SELECT prompt.parent_id, (
        SELECT max(run.id) FROM run WHERE run.prompt_id = prompt.id AND run.lane_id = lane.id
      )
      FROM prompt WHERE prompt.id = (
        SELECT max(id) FROM prompt WHERE conversation_id = lane.conversation_id
      )
      UNION ALL
      SELECT prompt.parent_id, (
        SELECT max(run.id) FROM run WHERE run.prompt_id = prompt.id AND run.lane_id = lane.id
      )
      FROM shown JOIN prompt ON prompt.id = shown.parent_id
      WHERE shown.run_id IS NULL
    )
    SELECT run_id FROM shown WHERE run_id IS NOT NULL
  ),
  (SELECT id FROM run WHERE lane_id = lane.id ORDER BY prompt_id DESC, id DESC LIMIT 1)
);

-- NULL: as for the parent prompt.
ALTER TABLE prompt ADD COLUMN system TEXT;
ALTER TABLE prompt ADD COLUMN sampling TEXT;                      -- JSON
ALTER TABLE prompt ADD COLUMN for_all INTEGER NOT NULL DEFAULT 1; -- 0: the prompt was for some of the lanes
UPDATE prompt SET system = (
  SELECT nullif(system, '') FROM conversation WHERE conversation.id = prompt.conversation_id
) WHERE parent_id IS NULL;
ALTER TABLE conversation DROP COLUMN system;

-- The tokens of a run with log-probabilities and times, if the user asked for these.
CREATE TABLE token (
  run_id INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE,
  data BLOB NOT NULL                              -- JSON, compressed with zlib
);
