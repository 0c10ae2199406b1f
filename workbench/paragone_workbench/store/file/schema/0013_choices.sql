-- The parameters of a `paragone choose`. The decision itself is computed from the runs.
CREATE TABLE choice (
  experiment_id TEXT PRIMARY KEY REFERENCES experiment (id) ON DELETE CASCADE,
  asked TEXT NOT NULL                             -- JSON: the reference, the margin, the memory of the engines
) WITHOUT ROWID;
