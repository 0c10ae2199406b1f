-- From version 5, whose tables are here as old_*: one table of runs, and ids that the program makes.

ALTER TABLE old_conversation ADD COLUMN new_id TEXT;
ALTER TABLE old_prompt ADD COLUMN new_id TEXT;
ALTER TABLE old_lane ADD COLUMN new_id TEXT;
ALTER TABLE old_run ADD COLUMN new_id TEXT;
ALTER TABLE old_experiment ADD COLUMN new_id TEXT;
ALTER TABLE old_experiment_run ADD COLUMN new_id TEXT;
UPDATE old_conversation SET new_id = id_of('conversation', id, created, title);
UPDATE old_prompt SET new_id = id_of('prompt', id, created, text);
UPDATE old_lane SET new_id = id_of(
  'lane', id, (SELECT created FROM old_conversation WHERE old_conversation.id = conversation_id), definition
);
UPDATE old_run SET new_id = id_of('run', id, started, text);
UPDATE old_experiment SET new_id = id_of('experiment', id, created, fingerprint);
UPDATE old_experiment_run SET new_id = id_of('experiment run', id, started, text);

INSERT INTO owner SELECT id, lock FROM old_owner;
INSERT INTO conversation (number, id, title, created, updated)
  SELECT id, new_id, title, created, updated FROM old_conversation;
INSERT INTO prompt (number, id, conversation_id, parent_id, text, system, sampling, for_all, created)
  SELECT
    source.id, source.new_id, old_conversation.new_id, parent.new_id,
    source.text, source.system, source.sampling, source.for_all, source.created
  FROM old_prompt AS source
  JOIN old_conversation ON old_conversation.id = source.conversation_id
  LEFT JOIN old_prompt AS parent ON parent.id = source.parent_id
  ORDER BY source.id;
INSERT INTO image (prompt_id, position, name, media_type, data)
  SELECT
    old_prompt.new_id, row_number() OVER (PARTITION BY prompt_id ORDER BY old_image.id) - 1, name, media_type, data
  FROM old_image JOIN old_prompt ON old_prompt.id = prompt_id;

INSERT INTO manifest (sha256, data) SELECT sha256, data FROM old_manifest;
INSERT OR IGNORE INTO manifest (sha256, data)
  SELECT sha256_of(data), data FROM (SELECT DISTINCT common_part(manifest) AS data FROM old_run) WHERE data IS NOT NULL;
INSERT INTO run
  (number, id, purpose, owner_id, state, engine, started, text, thinking, result, manifest, tokens)
  SELECT
    id, new_id, 'answer', owner_id, state, engine, started, text, thinking,
    result_of(engine, backend, model, finish, error, hint, metrics, settings, cautions, ended, manifest),
    sha256_of(common_part(manifest)),
    (SELECT data FROM old_token WHERE run_id = old_run.id)
  FROM old_run ORDER BY id;
INSERT INTO piece (run_id, position, text, thinking)
  SELECT old_run.new_id, old_piece.id, old_piece.text, old_piece.thinking
  FROM old_piece JOIN old_run ON old_run.id = run_id;
INSERT INTO lane (number, id, conversation_id, position, definition, closed, head_id)
  SELECT old_lane.id, old_lane.new_id, old_conversation.new_id, position, definition, closed, old_run.new_id
  FROM old_lane
  JOIN old_conversation ON old_conversation.id = conversation_id
  LEFT JOIN old_run ON old_run.id = head_id;
INSERT INTO turn (run_id, prompt_id, lane_id, continues_id)
  SELECT source.new_id, old_prompt.new_id, old_lane.new_id, before.new_id
  FROM old_run AS source
  JOIN old_prompt ON old_prompt.id = source.prompt_id
  JOIN old_lane ON old_lane.id = source.lane_id
  LEFT JOIN old_run AS before ON before.id = source.continues_id;

-- The runs of experiments get numbers above all numbers of conversations' runs; cells keep the old numbers of these runs.
DELETE FROM sqlite_sequence WHERE name = 'run';
INSERT INTO sqlite_sequence (name, seq)
  SELECT 'run', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'old_run';
INSERT INTO experiment (
    number, id, name, fingerprint, schedule, repetitions, engines, machine, prompts, created, owner_id
  )
  SELECT
    id, new_id, name, fingerprint, schedule, repetitions, engines, machine, prompts, created, owner_id
  FROM old_experiment;
INSERT INTO experiment_prompt (experiment_id, position, content)
  SELECT new_id, position, content FROM old_experiment_prompt JOIN old_experiment ON old_experiment.id = experiment_id;
INSERT INTO run (id, purpose, state, engine, started, text, thinking, result, manifest, tokens)
  SELECT
    new_id, 'answer', state, engine, started, text, thinking,
    result_of(
      engine, backend, model, finish, error, hint, metrics, settings, cautions, ended,
      with_request(old_manifest.data, request)
    ),
    old_manifest.sha256, tokens
  FROM old_experiment_run LEFT JOIN old_manifest ON old_manifest.id = manifest_id
  ORDER BY old_experiment_run.id;
INSERT INTO cell (number, experiment_id, prompt_index, engine_index, repetition, run_id, assertions)
  SELECT source.id, old_experiment.new_id, prompt_index, engine_index, repetition, source.new_id, assertions
  FROM old_experiment_run AS source JOIN old_experiment ON old_experiment.id = experiment_id;

CREATE TABLE old_label (label TEXT PRIMARY KEY, new_id TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO old_label SELECT 'r' || id, new_id FROM old_run;
INSERT INTO old_label SELECT 'e' || experiment_id || '/' || id, new_id FROM old_experiment_run;
INSERT INTO vote (number, id, experiment_id, prompt_index, prompt_id, candidates, choice, blind, created)
  SELECT
    source.id, id_of('vote', source.id, source.created, candidates),
    old_experiment.new_id, prompt_index, old_prompt.new_id,
    (
      SELECT json_group_array(json(changed)) FROM (
        SELECT json_set(
          value, '$.run',
          coalesce((SELECT new_id FROM old_label WHERE label = value ->> '$.run'), value ->> '$.run')
        ) AS changed
        FROM json_each(candidates) ORDER BY key
      )
    ),
    choice, blind, source.created
  FROM old_vote AS source
  LEFT JOIN old_experiment ON old_experiment.id = source.experiment_id
  LEFT JOIN old_prompt ON old_prompt.id = source.prompt_id
  ORDER BY source.id;
INSERT INTO measurement (number, id, kind, engines, data, created)
  SELECT id, id_of('measurement', id, created, data), kind, engines, data, created FROM old_measurement;
INSERT INTO weights SELECT path, size, modified_ns, sha256 FROM old_weights;

-- Numbers of rows that were deleted stay unused.
CREATE TABLE old_used AS
  SELECT CASE name WHEN 'old_experiment_run' THEN 'cell' ELSE substr(name, 5) END AS name, seq
  FROM sqlite_sequence
  WHERE name IN ('old_conversation', 'old_owner', 'old_experiment', 'old_experiment_run', 'old_vote', 'old_measurement');
DELETE FROM sqlite_sequence WHERE name IN (SELECT name FROM old_used);
INSERT INTO sqlite_sequence (name, seq) SELECT name, seq FROM old_used;
