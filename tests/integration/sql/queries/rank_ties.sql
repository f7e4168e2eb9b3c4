-- The dearest bids of each channel, all that tie, by RANK.
CREATE TABLE rank_ties (channel VARCHAR, price BIGINT, bidder BIGINT, r BIGINT) WITH (${sink});

INSERT INTO rank_ties
SELECT channel, price, bidder, r FROM (
    SELECT channel, price / 10000000 AS price, bidder,
        RANK() OVER (PARTITION BY channel ORDER BY price / 10000000 DESC) AS r FROM bid
    WHERE auction % 10 = 0)
WHERE r <= 3;
