-- Conversions, of which some cannot be made.
CREATE TABLE casts (auction BIGINT, a VARCHAR, b BIGINT, c DECIMAL(12, 1), d BIGINT, e DOUBLE, f BIGINT, g BOOLEAN)
WITH (${sink});

INSERT INTO casts
SELECT auction, CAST(price * 0.01 AS VARCHAR), TRY_CAST(SUBSTRING(url FROM LENGTH(url) - 1) AS BIGINT),
    CAST(price * 0.05 AS DECIMAL(12, 1)), CAST(price / -8e0 AS BIGINT), CAST(price AS DOUBLE),
    CAST(CAST(price AS VARCHAR) AS BIGINT), CAST(MOD(price, 2) AS BOOLEAN)
FROM bid;
