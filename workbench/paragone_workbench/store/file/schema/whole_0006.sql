-- The schema of version 6, to which files of versions 1 to 5 are migrated. 0007_subject.sql and later scripts change it.
--
-- Every row that can be in the files of two machines has an id that the program made, a UUID of version 7, and rows refer
-- to each other by these ids. `number` is what people type (c7, r45, e3). With AUTOINCREMENT, the number of a deleted
-- row is never used again. Times are seconds since 1970.

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
  parent_id TEXT REFERENCES prompt (id) ON DELETE CASCADE, -- the previous prompt; prompts with one parent are branches
  text TEXT NOT NULL,
  system TEXT,                                    -- system prompt from this prompt on; NULL: as its parent
  sampling TEXT,                                  -- JSON: sampling options, likewise
  for_all INTEGER NOT NULL DEFAULT 1,             -- 0: the prompt was for some of the lanes
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

-- An instance of paragone that has the file open. An instance is alive as long as it holds its lock file.
CREATE TABLE owner (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lock TEXT NOT NULL UNIQUE
);

-- The part of a manifest that runs have in common.
CREATE TABLE manifest (
  sha256 TEXT PRIMARY KEY,                        -- of `data`
  data TEXT NOT NULL                              -- JSON
) WITHOUT ROWID;

-- All runs: the result as JSON, and columns for search and filters. `turn` and `cell` refer to the runs of answers.
CREATE TABLE run (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  purpose TEXT NOT NULL CHECK (purpose IN ('answer', 'judge', 'replay')),
  about_id TEXT REFERENCES run (id) ON DELETE CASCADE, -- the run that this run judges or repeats
  owner_id INTEGER REFERENCES owner ON DELETE SET NULL, -- the instance that executes the run in progress
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed', 'interrupted')),
  engine TEXT NOT NULL,                           -- name of the engine
  started REAL NOT NULL,
  text TEXT NOT NULL DEFAULT '',                  -- the answer of an ended run; until then in `piece`
  thinking TEXT NOT NULL DEFAULT '',
  result TEXT NOT NULL,                           -- JSON: the other fields of the result
  manifest TEXT REFERENCES manifest (sha256),
  tokens BLOB                                     -- JSON, compressed with zlib
);
CREATE INDEX run_owner ON run (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX run_about ON run (about_id) WHERE about_id IS NOT NULL;

-- Answers in progress, piece by piece, so that a save writes only the new text.
CREATE TABLE piece (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                      -- number of characters saved before this piece
  text TEXT NOT NULL,
  thinking TEXT NOT NULL,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE lane (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  definition TEXT NOT NULL,                       -- JSON: the lane's present engine
  closed INTEGER NOT NULL DEFAULT 0,
  head_id TEXT REFERENCES run (id) ON DELETE SET NULL -- the last run of the lane's path
);
CREATE INDEX lane_conversation ON lane (conversation_id);
CREATE INDEX lane_head ON lane (head_id);

-- A lane's answer to a prompt.
CREATE TABLE turn (
  run_id TEXT PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
  prompt_id TEXT NOT NULL REFERENCES prompt (id) ON DELETE CASCADE,
  lane_id TEXT NOT NULL REFERENCES lane (id) ON DELETE CASCADE,
  continues_id TEXT REFERENCES run (id) ON DELETE SET NULL -- the previous run on the path
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
  engines TEXT NOT NULL,                          -- JSON: definitions without secrets
  machine TEXT NOT NULL,                          -- JSON
  prompts INTEGER NOT NULL,                       -- number of prompts
  created REAL NOT NULL,
  owner_id INTEGER REFERENCES owner ON DELETE SET NULL -- the instance that runs the experiment now
);
CREATE INDEX experiment_fingerprint ON experiment (fingerprint);
CREATE INDEX experiment_owner ON experiment (owner_id) WHERE owner_id IS NOT NULL;

CREATE TABLE experiment_prompt (
  experiment_id TEXT NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,                      -- index of the prompt in the file
  content TEXT NOT NULL,                          -- JSON: messages, expected answer, tags, assertions
  PRIMARY KEY (experiment_id, position)
) WITHOUT ROWID;

-- An answer in an experiment, written when its run has ended.
CREATE TABLE cell (
  number INTEGER PRIMARY KEY AUTOINCREMENT,       -- the 17 in e3/17
  experiment_id TEXT NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
  prompt_index INTEGER NOT NULL,
  engine_index INTEGER NOT NULL,
  repetition INTEGER NOT NULL,
  run_id TEXT NOT NULL UNIQUE REFERENCES run (id) ON DELETE CASCADE,
  assertions TEXT NOT NULL DEFAULT '[]',          -- JSON: the results of the assertions
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
  engines TEXT NOT NULL,                          -- JSON: definitions without secrets
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

-- Full-text search. The trigram tokenizer finds any part of a text in any script; unicode61 takes a Chinese, Japanese or
-- Thai sentence for one word, of which no part is found. The trigram index is about three times as large as the text,
-- and cannot find terms under three characters, for which all texts are read.
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
