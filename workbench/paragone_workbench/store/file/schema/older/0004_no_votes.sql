-- No version of the program has written votes, and the table cannot hold which answers were compared.

DROP TABLE vote;
