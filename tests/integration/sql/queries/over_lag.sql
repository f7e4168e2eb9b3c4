-- The bids of each bidder beside the ones before; the first ones have none.
CREATE TABLE over_lag (bidder BIGINT, `dateTime` TIMESTAMP(3), before BIGINT, second BIGINT, more BIGINT,
    itself BIGINT, channel VARCHAR) WITH (${sink});

INSERT INTO over_lag
SELECT bidder, `dateTime`, lag(price) OVER w, LAG(price, 2, -1) OVER w, price - lag(price, 1, price) OVER w,
    lag(price, 0) OVER w, lag(CASE WHEN channel <> 'Google' THEN channel END) OVER w
FROM bid
WINDOW w AS (PARTITION BY bidder ORDER BY `dateTime`);
