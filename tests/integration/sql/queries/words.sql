-- Names put together and taken apart.
CREATE TABLE words (a VARCHAR, b VARCHAR, c BIGINT, d VARCHAR, e VARCHAR) WITH (${sink});

INSERT INTO words
SELECT concat_ws('-', name, nullif(state, 'CA'), city), initcap(lower(name)), ascii(name),
    chr(65 + id % 26), elt(1 + id % 2, name, city)
FROM person;
