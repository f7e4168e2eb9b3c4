-- Groups of NULL are one; also where all of their values are NULL.
CREATE TABLE null_keys (x BIGINT, y BIGINT, num BIGINT, some BIGINT, total BIGINT, least BIGINT, kinds BIGINT)
WITH (${sink});

INSERT INTO null_keys
SELECT x, y, count(*), count(z), sum(z), min(z), count(DISTINCT z)
FROM (SELECT NULLIF(MOD(price, 3), 0) AS x, NULLIF(MOD(bidder, 3), 1) AS y,
    CASE WHEN MOD(price, 3) <> 0 THEN NULLIF(price, 500) END AS z FROM bid)
GROUP BY x, y;
