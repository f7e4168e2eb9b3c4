CREATE TABLE groups_by_text (word VARCHAR, n BIGINT, longest INT) WITH (${sink});

INSERT INTO groups_by_text
SELECT substring(itemName, 1, 1), count(*), max(char_length(itemName))
FROM auction GROUP BY substring(itemName, 1, 1);
