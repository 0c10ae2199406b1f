-- Conversations can be pinned and tagged, and a deletion can be undone.

ALTER TABLE conversation ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0; -- 1: listed before all others
-- The instance of the program that deleted the conversation. The conversation is hidden, and is erased together with the
-- row of the instance. Until then the deletion can be undone.
ALTER TABLE conversation ADD COLUMN deleted_by INTEGER REFERENCES owner (id) ON DELETE CASCADE;
-- `updated`, or 0 if `updated` is damaged: a text would sort after all numbers, and hide the conversation.
ALTER TABLE conversation ADD COLUMN used REAL
  AS (CASE WHEN typeof(updated) = 'real' THEN updated ELSE 0.0 END);
DROP INDEX conversation_updated;
CREATE INDEX conversation_used ON conversation (pinned, used, number);
CREATE INDEX conversation_deleted ON conversation (deleted_by) WHERE deleted_by IS NOT NULL;

CREATE TABLE tag (
  conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
  name TEXT NOT NULL,                             -- one word in lower case
  PRIMARY KEY (conversation_id, name)
) WITHOUT ROWID;

-- Filters by engine and by model read this index alone.
ALTER TABLE run ADD COLUMN model
  AS (CASE WHEN json_valid(result) THEN json_extract(result, '$.definition.model') END);
CREATE INDEX run_engine ON run (engine, model, id);
