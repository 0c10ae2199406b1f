-- A draft may be an edit of an earlier prompt; the next start continues the edit.
ALTER TABLE draft ADD COLUMN edits TEXT NOT NULL DEFAULT ''; -- the id of the prompt; empty for a new prompt
