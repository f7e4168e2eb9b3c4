-- Where a text is in another one, and new text in its place.
CREATE TABLE places (a BIGINT, b BIGINT, c BIGINT, d VARCHAR, e VARCHAR) WITH (${sink});

INSERT INTO places
SELECT position('o' IN channel), instr(url, 'item'), strpos(url, '?'), translate(channel, 'aeo', '43'),
    overlay(channel PLACING '##' FROM 2 FOR 3)
FROM bid WHERE price > 1500;
