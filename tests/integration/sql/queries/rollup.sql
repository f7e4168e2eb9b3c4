CREATE TABLE rollup (kind VARCHAR, parity BIGINT, n BIGINT, total BIGINT) WITH (${sink});

INSERT INTO rollup
SELECT channel, MOD(auction, 2) AS parity, count(*), sum(price)
FROM bid
GROUP BY ROLLUP (channel, MOD(auction, 2))
HAVING count(*) > 3;
