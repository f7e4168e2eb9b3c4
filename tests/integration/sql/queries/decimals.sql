CREATE TABLE decimals (rate DECIMAL(6, 3), n BIGINT, total DECIMAL(38, 3), mean DECIMAL(38, 6),
    least DECIMAL(23, 3), greatest DECIMAL(23, 3), kinds BIGINT) WITH (${sink});

INSERT INTO decimals
SELECT paid.rate, count(*) AS n, sum(paid.amount) AS total, CAST(avg(+paid.amount) AS DECIMAL(38, 6)) AS mean,
    min(paid.amount) AS least, max(paid.amount) AS greatest,
    count(DISTINCT paid.amount) AS kinds
FROM (SELECT auction, CAST(MOD(bidder, 7) * 0.125 AS DECIMAL(6, 3)) AS rate,
        0.908 * price AS amount FROM bid) AS paid
JOIN (SELECT CAST(MOD(id, 5) * 0.25 AS DECIMAL(6, 3)) AS rate FROM auction WHERE MOD(id, 100) = 0) AS r
    ON paid.rate = r.rate
GROUP BY paid.rate;
