-- A run can be the answer in several experiments: an experiment takes over the run of an earlier, equal request.

CREATE TABLE new_cell (
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
INSERT INTO new_cell (number, experiment_id, prompt_index, engine_index, repetition, run_id, assertions)
  SELECT number, experiment_id, prompt_index, engine_index, repetition, run_id, assertions FROM cell;
-- The number of a deleted cell is never used again.
DELETE FROM sqlite_sequence WHERE name = 'new_cell';
INSERT INTO sqlite_sequence (name, seq) SELECT 'new_cell', seq FROM sqlite_sequence WHERE name = 'cell';
DROP TRIGGER turn_delete;
DROP TABLE cell;
ALTER TABLE new_cell RENAME TO cell;
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

-- The measured engines: a JSON list of digests of the engines with their models' files.
ALTER TABLE measurement ADD COLUMN identities TEXT;
