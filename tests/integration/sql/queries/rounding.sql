-- Half away from zero, of both signs; digits before the point, too.
CREATE TABLE rounding (auction BIGINT, a DECIMAL(20, 1), b DECIMAL(20, 0), c DECIMAL(20, 0), d DECIMAL(20, 0), e BIGINT, f BIGINT, g INT, h BIGINT)
WITH (${sink});

INSERT INTO rounding
SELECT auction, ROUND(x, 1), ROUND(x), FLOOR(x), CEIL(x), ROUND(price, -2), ABS(500 - price), SIGN(CAST(500 - price AS INT)),
    MOD(500 - price, 7)
FROM (SELECT auction, price, (500 - price) * 0.05 AS x FROM bid);
