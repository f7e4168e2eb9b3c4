CREATE TABLE members (id BIGINT, name VARCHAR) WITH (${sink});

INSERT INTO members
SELECT id, name FROM person
WHERE id IN (SELECT seller FROM auction WHERE category = 10) AND state <> 'CA';
