-- The run of the original lane after which a lane was forked.
ALTER TABLE lane ADD COLUMN fork_id TEXT REFERENCES run (id) ON DELETE SET NULL;
CREATE INDEX lane_fork ON lane (fork_id);
-- The prompts that wait for lanes, or that a stop has kept.
CREATE TABLE queued (
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  text TEXT NOT NULL,
  files TEXT NOT NULL,                            -- JSON: the name, size in bytes and section of each
  images TEXT NOT NULL,                           -- JSON: the name, media type and Base64 data of each
  lanes TEXT NOT NULL,                            -- JSON: the ids of the lanes that have not begun to answer
  for_all INTEGER NOT NULL,                       -- 0: the prompt was for some of the lanes
  prompt_id TEXT REFERENCES prompt (id) ON DELETE CASCADE, -- once a lane has begun to answer
  PRIMARY KEY (conversation_id, position)
) WITHOUT ROWID;
CREATE INDEX queued_prompt ON queued (prompt_id);
