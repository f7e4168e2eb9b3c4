-- Columns of the target that are named, in another order; the rest is NULL.
CREATE TABLE insert_columns (a BIGINT, b VARCHAR, c BIGINT) WITH (${sink});

INSERT INTO insert_columns (c, a)
SELECT price, auction FROM bid WHERE price > 1500;
