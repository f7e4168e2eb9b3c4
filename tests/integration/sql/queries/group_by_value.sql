CREATE TABLE group_by_value (class VARCHAR, weekday BIGINT, bids BIGINT, bidders BIGINT) WITH (${sink});

INSERT INTO group_by_value
SELECT CASE WHEN price > 1000000 THEN 'dear' WHEN price > 1000 THEN 'fair' ELSE 'cheap' END, MOD(auction, 7),
    count(*), count(DISTINCT bidder)
FROM bid
GROUP BY CASE WHEN price > 1000000 THEN 'dear' WHEN price > 1000 THEN 'fair' ELSE 'cheap' END, MOD(auction, 7);
