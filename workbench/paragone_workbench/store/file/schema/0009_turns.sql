-- The run of another lane after which a lane was forked from it.
ALTER TABLE lane ADD COLUMN fork_id TEXT REFERENCES run (id) ON DELETE SET NULL;
CREATE INDEX lane_fork ON lane (fork_id);
-- The prompts that wait for lanes, or that a stop has kept.
CREATE TABLE queued (
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  text TEXT NOT NULL,
  files TEXT NOT NULL,                            -- JSON: of each its name, its size in bytes and its section
  images TEXT NOT NULL,                           -- JSON: of each its name, its media type and its data in Base64
  lanes TEXT NOT NULL,                            -- JSON: the ids of the lanes that have not begun it
  for_all INTEGER NOT NULL,                       -- 0: it was for some of the lanes
  prompt_id TEXT REFERENCES prompt (id) ON DELETE CASCADE, -- once a lane has begun it
  PRIMARY KEY (conversation_id, position)
) WITHOUT ROWID;
CREATE INDEX queued_prompt ON queued (prompt_id);
