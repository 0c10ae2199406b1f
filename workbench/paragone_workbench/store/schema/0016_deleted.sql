-- A deletion is a mark, which a later start of the program makes final. All readers read the view `conversation`, which
-- lacks marked conversations; only writers name the table.

ALTER TABLE conversation ADD COLUMN deleted INTEGER; -- the instance (`owner.id`) that deleted it; NULL if it was not
ALTER TABLE conversation RENAME TO every_conversation;
CREATE INDEX conversation_deleted ON every_conversation (deleted) WHERE deleted IS NOT NULL;
CREATE VIEW conversation AS SELECT * FROM every_conversation WHERE deleted IS NULL;
