CREATE TABLE cube (channel VARCHAR, parity BIGINT, n BIGINT) WITH (${sink});

INSERT INTO cube
SELECT channel, MOD(bidder, 3), count(DISTINCT auction)
FROM bid
GROUP BY CUBE (channel, MOD(bidder, 3));
