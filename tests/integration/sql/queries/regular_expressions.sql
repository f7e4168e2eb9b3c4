-- What matches, how often and where, and what stands in its place.
CREATE TABLE regular_expressions (auction BIGINT, a BOOLEAN, b INT, c INT, d VARCHAR, e VARCHAR, f BOOLEAN)
WITH (${sink});

INSERT INTO regular_expressions
SELECT auction, REGEXP_LIKE(url, 'item\.htm'), REGEXP_COUNT(url, '[aeiou]'), REGEXP_INSTR(url, 'n[a-z]x'),
    REGEXP_REPLACE(url, '([0-9]+)', '<\1>'), REGEXP_SUBSTR(url, '[a-z]+\.com'), channel SIMILAR TO '(Goo|App)[a-z]+'
FROM bid;
