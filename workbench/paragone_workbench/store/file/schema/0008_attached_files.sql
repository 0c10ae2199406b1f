-- Files that are attached to a prompt. The text of a file is a section at the end of the prompt's text. The sections have
-- the order of the positions, and an empty line before each.

CREATE TABLE attached_file (
  prompt_id TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  size INTEGER NOT NULL,                          -- bytes of the file
  length INTEGER NOT NULL,                        -- characters of its section
  PRIMARY KEY (prompt_id, position)
);
