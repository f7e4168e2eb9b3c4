-- Functions of angles, to six digits.
CREATE TABLE trigonometry (auction BIGINT, price BIGINT, s DECIMAL(20, 6), c DECIMAL(20, 6), t DECIMAL(20, 6), a DECIMAL(20, 6), b DECIMAL(20, 6),
    d DECIMAL(20, 6), e DECIMAL(20, 6), h DECIMAL(20, 6), i DECIMAL(20, 6), k DECIMAL(20, 6), l DECIMAL(20, 6))
WITH (${sink});

INSERT INTO trigonometry
SELECT auction, price, CAST(SIN(x) AS DECIMAL(20, 6)), CAST(COS(x) AS DECIMAL(20, 6)), CAST(TAN(x) AS DECIMAL(20, 6)),
    CAST(ASIN(x) AS DECIMAL(20, 6)), CAST(ACOS(x) AS DECIMAL(20, 6)), CAST(ATAN(x) AS DECIMAL(20, 6)),
    CAST(ATAN2(x, y) AS DECIMAL(20, 6)), CAST(SINH(x) AS DECIMAL(20, 6)), CAST(COT(x) AS DECIMAL(20, 6)),
    CAST(DEGREES(x) AS DECIMAL(20, 6)), CAST(RADIANS(y) AS DECIMAL(20, 6))
FROM (SELECT auction, price, (MOD(price, 17) + 1) / 20e0 AS x, MOD(bidder, 90) * 1e0 AS y FROM bid);
