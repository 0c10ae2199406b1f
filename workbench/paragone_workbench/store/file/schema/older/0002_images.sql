-- Images that prompts have, in their order.

CREATE TABLE image (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  prompt_id INTEGER NOT NULL REFERENCES prompt ON DELETE CASCADE,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  data BLOB NOT NULL                              -- the file's bytes
);
CREATE INDEX image_prompt ON image (prompt_id);
