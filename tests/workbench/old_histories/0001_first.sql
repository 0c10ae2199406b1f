-- Conversations, their lanes, prompts as a tree, and what each lane answered.
-- Times are seconds since 1970. AUTOINCREMENT: an id that was deleted never means another row,
-- which matters if two instances of paragone have the file open.

CREATE TABLE conversation (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL DEFAULT '',
  system TEXT NOT NULL DEFAULT '',
  created REAL NOT NULL,
  updated REAL NOT NULL
);
CREATE INDEX conversation_updated ON conversation (updated, id);

CREATE TABLE lane (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation_id INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
  position INTEGER NOT NULL,
  definition TEXT NOT NULL,                       -- JSON: the engine it has now
  closed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX lane_conversation ON lane (conversation_id);

CREATE TABLE prompt (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation_id INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
  parent_id INTEGER REFERENCES prompt ON DELETE CASCADE, -- the prompt before it; several with one parent: branches
  text TEXT NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX prompt_conversation ON prompt (conversation_id);
CREATE INDEX prompt_parent ON prompt (parent_id);

-- An instance of paragone that has the file open. It is alive as long as it holds its lock file.
CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lock TEXT NOT NULL UNIQUE
);

CREATE TABLE run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  prompt_id INTEGER NOT NULL REFERENCES prompt ON DELETE CASCADE,
  lane_id INTEGER NOT NULL REFERENCES lane ON DELETE CASCADE,
  owner_id INTEGER REFERENCES owner ON DELETE SET NULL, -- who runs it, while it runs
  engine TEXT NOT NULL,
  backend TEXT NOT NULL,
  model TEXT NOT NULL,
  manifest TEXT NOT NULL,                         -- JSON
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed', 'interrupted')),
  text TEXT NOT NULL DEFAULT '',                  -- whole once it has ended; until then in `piece`
  thinking TEXT NOT NULL DEFAULT '',
  finish TEXT,
  error TEXT NOT NULL DEFAULT '',
  metrics TEXT,                                   -- JSON
  started REAL NOT NULL,
  ended REAL
);
CREATE INDEX run_prompt ON run (prompt_id, lane_id);
CREATE INDEX run_lane ON run (lane_id);
CREATE INDEX run_running ON run (owner_id) WHERE owner_id IS NOT NULL;

-- Answers in progress, piece by piece, so that saving one costs its own length only.
CREATE TABLE piece (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
  text TEXT NOT NULL,
  thinking TEXT NOT NULL
);
CREATE INDEX piece_run ON piece (run_id);

-- Which answer to a prompt was preferred; no run: a tie.
CREATE TABLE vote (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  prompt_id INTEGER NOT NULL REFERENCES prompt ON DELETE CASCADE,
  run_id INTEGER REFERENCES run ON DELETE CASCADE,
  created REAL NOT NULL
);
CREATE INDEX vote_prompt ON vote (prompt_id);
CREATE INDEX vote_run ON vote (run_id);

-- Full-text search. The trigram tokenizer, because it finds any part of a text in any script:
-- unicode61 takes a Chinese, Japanese or Thai sentence for one word, of which no part is found.
-- It costs an index about three times the text, and terms under three characters are found by
-- reading instead.
CREATE VIRTUAL TABLE prompt_search USING fts5 (
  text, content = 'prompt', content_rowid = 'id', tokenize = 'trigram'
);
CREATE TRIGGER prompt_search_insert AFTER INSERT ON prompt BEGIN
  INSERT INTO prompt_search (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER prompt_search_delete AFTER DELETE ON prompt BEGIN
  INSERT INTO prompt_search (prompt_search, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER prompt_search_update AFTER UPDATE OF text ON prompt BEGIN
  INSERT INTO prompt_search (prompt_search, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO prompt_search (rowid, text) VALUES (new.id, new.text);
END;

CREATE VIRTUAL TABLE run_search USING fts5 (
  text, content = 'run', content_rowid = 'id', tokenize = 'trigram'
);
CREATE TRIGGER run_search_insert AFTER INSERT ON run BEGIN
  INSERT INTO run_search (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER run_search_delete AFTER DELETE ON run BEGIN
  INSERT INTO run_search (run_search, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER run_search_update AFTER UPDATE OF text ON run BEGIN
  INSERT INTO run_search (run_search, rowid, text) VALUES ('delete', old.id, old.text);
  INSERT INTO run_search (rowid, text) VALUES (new.id, new.text);
END;
