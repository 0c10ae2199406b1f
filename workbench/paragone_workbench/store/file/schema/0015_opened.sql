-- The conversation to resume is the one that was opened or used last. Opening a conversation does not count as using it.
ALTER TABLE conversation ADD COLUMN opened REAL; -- when it was opened last, in seconds since 1970; NULL if never
CREATE INDEX conversation_opened ON conversation (opened) WHERE typeof(opened) = 'real';
