-- An edit of an earlier prompt that was not sent: the next start goes on with it.
ALTER TABLE draft ADD COLUMN edits TEXT NOT NULL DEFAULT ''; -- the id of the prompt; empty for a new prompt
