-- What `choose` asked of an experiment: the decision itself follows from the runs.
CREATE TABLE choice (
  experiment_id TEXT PRIMARY KEY REFERENCES experiment (id) ON DELETE CASCADE,
  asked TEXT NOT NULL                             -- JSON: the reference, the margin, the memory of the engines
) WITHOUT ROWID;
