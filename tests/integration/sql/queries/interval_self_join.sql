-- Pairs of bids of one bidder soon after one another.
CREATE TABLE interval_self_join (bidder BIGINT, first_ BIGINT, next_ BIGINT) WITH (${sink});

INSERT INTO interval_self_join
SELECT a.bidder, a.price, b.price
FROM bid a JOIN bid b ON a.bidder = b.bidder
    AND b.`dateTime` > a.`dateTime` AND b.`dateTime` <= a.`dateTime` + INTERVAL '1' SECOND
WHERE a.price > 2000;
