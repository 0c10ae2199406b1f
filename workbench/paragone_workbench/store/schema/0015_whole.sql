-- The schema of version 15, with which a new file begins. 0016_subject.sql and later scripts would change all files.
--
-- Every row that can be in the files of two machines has an id that the program made, a UUID of version 7, and rows refer
-- to each other by these ids. `number` is what people type (c7, r45, e3). With AUTOINCREMENT, the number of a deleted
-- row is never used again. Times are seconds since 1970.

CREATE TABLE conversation (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL DEFAULT '',
  created REAL NOT NULL,
  updated REAL NOT NULL,
  pinned INTEGER NOT NULL DEFAULT 0,              -- 1: listed before all others
  -- `updated`, or 0 if `updated` is damaged: a text would sort after all numbers, and hide the conversation.
  used REAL AS (CASE WHEN typeof(updated) = 'real' THEN updated ELSE 0.0 END),
  opened REAL                                     -- when it was opened last; NULL if never. Opening does not count as using.
);
CREATE INDEX conversation_used ON conversation (pinned, used, number);
CREATE INDEX conversation_opened ON conversation (opened) WHERE typeof(opened) = 'real';

CREATE TABLE tag (
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  name TEXT NOT NULL,                             -- one word in lower case
  PRIMARY KEY (conversation_id, name)
) WITHOUT ROWID;

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

-- All runs: the result as JSON, and columns for search, filters and sums. `turn` and `cell` refer to the runs of answers.
-- The columns from `ended` on are computed from `result`, which stays the only place that has them, and are kept in the
-- indexes `run_costs` and `run_engine`: a sum reads no texts and parses no JSON. With `json_valid`, a result that SQLite
-- does not accept as JSON (such as NaN) can be saved all the same.
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
  tokens BLOB,                                    -- JSON, compressed with zlib
  ended REAL                                      -- seconds since 1970
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.ended') END),
  waited_s REAL                                   -- until the request was sent
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.waited_s') END),
  prompt_tokens
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.prompt_tokens') END),
  cached_tokens
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.cached_tokens') END),
  completion_tokens                               -- not NULL if there are metrics
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.completion_tokens') END),
  estimated                                       -- 1: the engine did not count the tokens of the completion
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.estimated') END),
  shared                                          -- 1: another run used the same server or this machine
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.shared') END),
  joules
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.energy.joules') END),
  devices                                         -- JSON: the names of the devices whose energy was counted
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.metrics.energy.devices') END),
  model
    AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.definition.model') END)
);
CREATE INDEX run_costs ON run (
  engine, devices, started, ended, waited_s, prompt_tokens, cached_tokens, completion_tokens, estimated, shared, joules
) WHERE state != 'running';
CREATE INDEX run_engine ON run (engine, model, id);
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
  head_id TEXT REFERENCES run (id) ON DELETE SET NULL, -- the last run of the lane's path
  fork_id TEXT REFERENCES run (id) ON DELETE SET NULL -- the run of the original lane after which this lane was forked
);
CREATE INDEX lane_conversation ON lane (conversation_id);
CREATE INDEX lane_head ON lane (head_id);
CREATE INDEX lane_fork ON lane (fork_id);

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

-- The prompts that wait for lanes, or that a stop has kept.
CREATE TABLE queued (
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  text TEXT NOT NULL,
  files TEXT NOT NULL,                            -- JSON: the name, size in bytes and section of each
  images TEXT NOT NULL,                           -- JSON: the name, media type and Base64 data of each
  lanes TEXT NOT NULL,                            -- JSON: the ids of the lanes that have not begun to answer
  for_all INTEGER NOT NULL,                       -- 0: the prompt was for some of the lanes
  prompt_id TEXT REFERENCES prompt (id) ON DELETE CASCADE, -- once a lane has begun to answer
  PRIMARY KEY (conversation_id, position)
) WITHOUT ROWID;
CREATE INDEX queued_prompt ON queued (prompt_id);

-- The prompt that was written last and not sent. The next start takes it unless a running instance has it.
CREATE TABLE draft (
  id INTEGER PRIMARY KEY,                         -- the newest draft has the highest id
  owner_id INTEGER REFERENCES owner (id) ON DELETE SET NULL, -- the instance whose user writes the draft
  text TEXT NOT NULL,                             -- with a mark for each text that was pasted and folded
  pasted TEXT NOT NULL,                           -- JSON: these texts by their marks
  named TEXT NOT NULL,                            -- JSON: the paths of the files that the user mentioned
  edits TEXT NOT NULL DEFAULT ''                  -- the id of the edited prompt; empty for a new prompt
);
CREATE INDEX draft_owner ON draft (owner_id);

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

-- The parameters of a `paragone choose`. The decision itself is computed from the runs.
CREATE TABLE choice (
  experiment_id TEXT PRIMARY KEY REFERENCES experiment (id) ON DELETE CASCADE,
  asked TEXT NOT NULL                             -- JSON: the reference, the margin, the memory of the engines
) WITHOUT ROWID;

-- An answer in an experiment, written when its run has ended. A run can be the answer in several experiments: an experiment
-- takes over the run of an earlier, equal request.
CREATE TABLE cell (
  number INTEGER PRIMARY KEY AUTOINCREMENT,       -- the 17 in e3/17
  experiment_id TEXT NOT NULL REFERENCES experiment (id) ON DELETE CASCADE,
  prompt_index INTEGER NOT NULL,
  engine_index INTEGER NOT NULL,
  repetition INTEGER NOT NULL,
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  assertions TEXT NOT NULL DEFAULT '[]',          -- JSON: the results of the assertions
  asked TEXT,                                     -- a digest of the engine, its model's file, the messages and the seed
  checked TEXT,                                   -- a digest of the assertions, the expected answer and the judges
  UNIQUE (experiment_id, prompt_index, engine_index, repetition)
);
CREATE INDEX cell_run ON cell (run_id);
CREATE INDEX cell_asked ON cell (asked) WHERE asked IS NOT NULL;

-- A run is kept as long as a turn or a cell refers to it.
CREATE TRIGGER turn_delete AFTER DELETE ON turn BEGIN
  DELETE FROM run WHERE id = old.run_id AND NOT EXISTS (SELECT 1 FROM cell WHERE run_id = old.run_id);
END;
CREATE TRIGGER cell_delete AFTER DELETE ON cell BEGIN
  DELETE FROM run WHERE id = old.run_id
    AND NOT EXISTS (SELECT 1 FROM turn WHERE run_id = old.run_id)
    AND NOT EXISTS (SELECT 1 FROM cell WHERE run_id = old.run_id);
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
  created REAL NOT NULL,
  identities TEXT                                 -- JSON: digests of the measured engines with their models' files
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
