-- Files whose text goes with a prompt. The text of a file stands in that of the prompt, as a section at its end: the
-- sections have the order of the positions, and an empty line before each.

CREATE TABLE attached_file (
  prompt_id TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  size INTEGER NOT NULL,                          -- bytes of the file
  length INTEGER NOT NULL,                        -- characters of its section
  PRIMARY KEY (prompt_id, position)
);
