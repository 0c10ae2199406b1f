-- Experiments: prompts × engines × repetitions, with votes; and measurements of engines.

CREATE TABLE experiment (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
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
  experiment_id INTEGER NOT NULL REFERENCES experiment ON DELETE CASCADE,
  position INTEGER NOT NULL,                      -- its index in the file
  content TEXT NOT NULL,                          -- JSON: messages, expected answer, tags, assertions
  PRIMARY KEY (experiment_id, position)
) WITHOUT ROWID;

-- The part of a manifest that the runs of an engine have in common.
CREATE TABLE manifest (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  data TEXT NOT NULL                              -- JSON
);

-- A row is written when its run has ended.
CREATE TABLE experiment_run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  experiment_id INTEGER NOT NULL REFERENCES experiment ON DELETE CASCADE,
  prompt_index INTEGER NOT NULL,
  engine_index INTEGER NOT NULL,
  repetition INTEGER NOT NULL,
  engine TEXT NOT NULL,
  backend TEXT NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('done', 'stopped', 'failed', 'interrupted')),
  finish TEXT,
  error TEXT NOT NULL,
  hint TEXT NOT NULL,
  metrics TEXT,                                   -- JSON
  settings TEXT,                                  -- JSON
  cautions TEXT NOT NULL,                         -- JSON
  started REAL NOT NULL,
  ended REAL,
  text TEXT NOT NULL,
  thinking TEXT NOT NULL,
  manifest_id INTEGER REFERENCES manifest,
  request TEXT NOT NULL,                          -- JSON: the part of the manifest that is the run's own
  tokens BLOB,                                    -- JSON, compressed with zlib
  assertions TEXT NOT NULL DEFAULT '[]',          -- JSON
  UNIQUE (experiment_id, prompt_index, engine_index, repetition)
);

-- Which of several answers to a prompt was preferred. A vote outlives its experiment or conversation.
CREATE TABLE vote (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  experiment_id INTEGER REFERENCES experiment ON DELETE SET NULL,
  prompt_index INTEGER,
  prompt_id INTEGER REFERENCES prompt ON DELETE SET NULL,
  candidates TEXT NOT NULL,                       -- JSON: in the order in which they were shown
  choice TEXT NOT NULL,                           -- the index of the preferred candidate, `tie` or `bad`
  blind INTEGER NOT NULL,
  created REAL NOT NULL
);
CREATE INDEX vote_experiment ON vote (experiment_id);
CREATE INDEX vote_prompt ON vote (prompt_id);

-- What was measured of engines outside of experiments.
CREATE TABLE measurement (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
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
