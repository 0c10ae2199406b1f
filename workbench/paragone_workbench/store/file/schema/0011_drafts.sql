-- Prompts that were written and not sent. The next start takes the newest draft that no running instance has.
CREATE TABLE draft (
  id INTEGER PRIMARY KEY,                         -- the newest draft has the highest id
  owner_id INTEGER REFERENCES owner (id) ON DELETE SET NULL, -- the instance whose user writes the draft
  text TEXT NOT NULL,                             -- with a mark for each text that was pasted and folded
  pasted TEXT NOT NULL,                           -- JSON: these texts by their marks
  named TEXT NOT NULL                             -- JSON: the paths of the files that the user mentioned
);
CREATE INDEX draft_owner ON draft (owner_id);
