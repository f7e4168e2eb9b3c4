-- Three values of truth, asked in every way.
CREATE TABLE truth (auction BIGINT, a BOOLEAN, b BOOLEAN, c BOOLEAN, d BOOLEAN, e BOOLEAN, f BOOLEAN, g BOOLEAN, h BOOLEAN)
WITH (${sink});

INSERT INTO truth
SELECT auction, yes IS TRUE, yes IS NOT TRUE, yes IS FALSE, yes IS NOT FALSE, yes IS NULL, yes AND price > 500, yes OR price > 500,
    x IS DISTINCT FROM NULLIF(price, 500)
FROM (SELECT auction, price, x, x > 2 AS yes FROM (SELECT auction, price, NULLIF(MOD(price, 5), 0) AS x FROM bid));
