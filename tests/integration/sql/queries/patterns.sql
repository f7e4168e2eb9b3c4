-- Text that is like something.
CREATE TABLE patterns (auction BIGINT, channel VARCHAR) WITH (${sink});

INSERT INTO patterns
SELECT auction, channel FROM bid
WHERE (channel LIKE 'G%' OR channel LIKE '%ce%' OR channel NOT LIKE '%-%') AND url LIKE '%nexmark%'
    AND price BETWEEN 500 AND 9000 AND auction NOT BETWEEN 1010 AND 1020;
