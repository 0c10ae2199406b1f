-- The schema of a new file. Later versions add scripts beside this one: 0007_subject.sql, and so on.
--
-- Every row that can be in the files of two machines has an id that the program made, a UUID of version 7, and rows refer
-- to each other by these ids. `number` is what people type (c7, r45, e3); AUTOINCREMENT: the number of a deleted row
-- never means another one. Times are seconds since 1970.

CREATE TABLE conversation (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL DEFAULT '',
  created REAL NOT NULL,
  updated REAL NOT NULL
);
CREATE INDEX conversation_updated ON conversation (updated, number);

CREATE TABLE prompt (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  parent_id TEXT REFERENCES prompt (id) ON DELETE CASCADE, -- the prompt before it; several with one parent: branches
  text TEXT NOT NULL,
  system TEXT,                                    -- from here on; NULL: as the prompt before it
  sampling TEXT,                                  -- JSON, likewise
  for_all INTEGER NOT NULL DEFAULT 1,             -- 0: it was for some of the lanes
  created REAL NOT NULL
);
CREATE INDEX prompt_conversation ON prompt (conversation_id);
CREATE INDEX prompt_parent ON prompt (parent_id);

CREATE TABLE image (
  prompt_id TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  data BLOB NOT NULL,                             -- the file's bytes
  PRIMARY KEY (prompt_id, position)
);

-- An instance of paragone that has the file open. It is alive as long as it holds its lock file.
CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lock TEXT NOT NULL UNIQUE
);

-- The part of a manifest that runs have in common.
CREATE TABLE manifest (
  sha256 TEXT PRIMARY KEY,                        -- of `data`
  data TEXT NOT NULL                              -- JSON
) WITHOUT ROWID;

-- All runs: the result as JSON, beside what is searched and filtered. `turn` and `cell` say where an answer belongs.
CREATE TABLE run (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  purpose TEXT NOT NULL CHECK (purpose IN ('answer', 'judge', 'replay')),
  about_id TEXT REFERENCES run (id) ON DELETE CASCADE, -- the run that it judges or repeats
  owner_id INTEGER REFERENCES owner ON DELETE SET NULL, -- who executes it, while it runs
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed', 'interrupted')),
  engine TEXT NOT NULL,                           -- its name
  started REAL NOT NULL,
  text TEXT NOT NULL DEFAULT '',                  -- whole once it has ended; until then in `piece`
  thinking TEXT NOT NULL DEFAULT '',
  result TEXT NOT NULL,                           -- JSON: the rest of it
  manifest TEXT REFERENCES manifest (sha256),
  tokens BLOB                                     -- JSON, compressed with zlib
);
CREATE INDEX run_owner ON run (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX run_about ON run (about_id) WHERE about_id IS NOT NULL;

-- Answers in progress, piece by piece, so that saving one costs its own length only.
CREATE TABLE piece (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                      -- number of characters saved before it
  text TEXT NOT NULL,
  thinking TEXT NOT NULL,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE lane (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  definition TEXT NOT NULL,                       -- JSON: the engine it has now
  closed INTEGER NOT NULL DEFAULT 0,
  head_id TEXT REFERENCES run (id) ON DELETE SET NULL -- the last run of its path
);
CREATE INDEX lane_conversation ON lane (conversation_id);
CREATE INDEX lane_head ON lane (head_id);

-- A lane's answer to a prompt.
CREATE TABLE turn (
  run_id TEXT PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
  prompt_id TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
  lane_id TEXT NOT NULL REFERENCES lane (id) ON DELETE CASCADE,
  continues_id TEXT REFERENCES run (id) ON DELETE SET NULL -- the run before it on the path
) WITHOUT ROWID;
CREATE INDEX turn_prompt ON turn (prompt_id);
CREATE INDEX turn_lane ON turn (lane_id);
CREATE INDEX turn_continues ON turn (continues_id);

-- Prompts × engines × repetitions.
CREATE TABLE experiment (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,                      -- the same for the same prompts, engines and settings
  schedule TEXT NOT NULL,
  repetitions INTEGER NOT NULL,
  engines TEXT NOT NULL,                          -- JSON: their definitions, without secrets
  machine TEXT NOT NULL,                          -- JSON
  prompts INTEGER NOT NULL,                       -- their number
  created REAL NOT NULL,
  owner_id INTEGER REFERENCES owner ON DELETE SET NULL -- who runs it now
);
CREATE INDEX experiment_fingerprint ON experiment (fingerprint);
CREATE INDEX experiment_owner ON experiment (owner_id) WHERE owner_id IS NOT NULL;

CREATE TABLE experiment_prompt (
  experiment_id TEXT NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                      -- its index in the file
  content TEXT NOT NULL,                          -- JSON: messages, expected answer, tags, assertions
  PRIMARY KEY (experiment_id, position)
) WITHOUT ROWID;

-- An answer in an experiment. It is written when its run has ended.
CREATE TABLE cell (
  number INTEGER PRIMARY KEY AUTOINCREMENT,       -- e3/17
  experiment_id TEXT NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
  prompt_index INTEGER NOT NULL,
  engine_index INTEGER NOT NULL,
  repetition INTEGER NOT NULL,
  run_id TEXT NOT NULL UNIQUE REFERENCES run (id) ON DELETE CASCADE,
  assertions TEXT NOT NULL DEFAULT '[]',          -- JSON: their results
  UNIQUE (experiment_id, prompt_index, engine_index, repetition)
);

-- A run is kept as long as a turn or a cell refers to it.
CREATE TRIGGER turn_delete AFTER DELETE ON turn BEGIN
  DELETE FROM run WHERE id = old.run_id AND NOT EXISTS (SELECT 1 FROM cell WHERE run_id = old.run_id);
END;
CREATE TRIGGER cell_delete AFTER DELETE ON cell BEGIN
  DELETE FROM run WHERE id = old.run_id AND NOT EXISTS (SELECT 1 FROM turn WHERE run_id = old.run_id);
END;

-- Which of several answers to a prompt was preferred. A vote outlives its experiment or conversation.
CREATE TABLE vote (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  experiment_id TEXT REFERENCES experiment (id) ON DELETE SET NULL,
  prompt_index INTEGER,
  prompt_id TEXT REFERENCES prompt (id) ON DELETE SET NULL,
  candidates TEXT NOT NULL,                       -- JSON: in the order in which they were shown
  choice TEXT NOT NULL,                           -- the index of the preferred candidate, `tie` or `bad`
  blind INTEGER NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX vote_experiment ON vote (experiment_id);
CREATE INDEX vote_prompt ON vote (prompt_id);

-- What was measured of engines outside of runs.
CREATE TABLE measurement (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('fidelity', 'bench')),
  engines TEXT NOT NULL,                          -- JSON: their definitions, without secrets
  data TEXT NOT NULL,                             -- JSON: as the command prints it
  created REAL NOT NULL
);

-- The SHA-256 of files of weights, which takes minutes to compute.
CREATE TABLE weights (
  path TEXT NOT NULL,
  size INTEGER NOT NULL,
  modified_ns INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  PRIMARY KEY (path, size, modified_ns)
);

-- Full-text search. The trigram tokenizer, because it finds any part of a text in any script: unicode61 takes a
-- Chinese, Japanese or Thai sentence for one word, of which no part is found. It costs an index about three times the
-- text, and terms under three characters are found by reading instead.
CREATE VIRTUAL TABLE prompt_search USING fts5 (
  text, content = 'prompt', content_rowid = 'number', tokenize = 'trigram'
);
CREATE TRIGGER prompt_search_insert AFTER INSERT ON prompt BEGIN
  INSERT INTO prompt_search (rowid, text) VALUES (new.number, new.text);
END;
CREATE TRIGGER prompt_search_delete AFTER DELETE ON prompt BEGIN
  INSERT INTO prompt_search (prompt_search, rowid, text) VALUES ('delete', old.number, old.text);
END;
CREATE TRIGGER prompt_search_update AFTER UPDATE OF text ON prompt BEGIN
  INSERT INTO prompt_search (prompt_search, rowid, text) VALUES ('delete', old.number, old.text);
  INSERT INTO prompt_search (rowid, text) VALUES (new.number, new.text);
END;

CREATE VIRTUAL TABLE run_search USING fts5 (
  text, content = 'run', content_rowid = 'number', tokenize = 'trigram'
);
CREATE TRIGGER run_search_insert AFTER INSERT ON run BEGIN
  INSERT INTO run_search (rowid, text) VALUES (new.number, new.text);
END;
CREATE TRIGGER run_search_delete AFTER DELETE ON run BEGIN
  INSERT INTO run_search (run_search, rowid, text) VALUES ('delete', old.number, old.text);
END;
CREATE TRIGGER run_search_update AFTER UPDATE OF text ON run WHEN old.text != new.text BEGIN
  INSERT INTO run_search (run_search, rowid, text) VALUES ('delete', old.number, old.text);
  INSERT INTO run_search (rowid, text) VALUES (new.number, new.text);
END;
