-- Powers and logarithms, to six digits; the logarithm of zero is no DECIMAL.
CREATE TABLE logarithms (auction BIGINT, price BIGINT, a DECIMAL(20, 6), b DECIMAL(20, 6), c DECIMAL(20, 6), d DECIMAL(20, 6), e DECIMAL(20, 6),
    f DECIMAL(20, 6), g DECIMAL(20, 6))
WITH (${sink});

INSERT INTO logarithms
SELECT auction, price, CAST(LN(x) AS DECIMAL(20, 6)), CAST(LOG10(x) AS DECIMAL(20, 6)), CAST(LOG2(x) AS DECIMAL(20, 6)),
    CAST(EXP(y) AS DECIMAL(20, 6)), CAST(POWER(y, 3e0) AS DECIMAL(20, 6)), CAST(SQRT(x) AS DECIMAL(20, 6)),
    CAST(TANH(y) AS DECIMAL(20, 6))
FROM (SELECT auction, price, price * 1e0 AS x, MOD(bidder, 13) / 4e0 AS y FROM bid WHERE price > 0);
