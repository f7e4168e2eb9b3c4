-- The last four bids of each bidder, at each of them.
CREATE TABLE over_rows (bidder BIGINT, `dateTime` TIMESTAMP(3), n BIGINT, dearest BIGINT, least BIGINT,
    channels BIGINT, above BIGINT) WITH (${sink});

INSERT INTO over_rows
SELECT bidder, `dateTime`, count(*) OVER w, max(price) OVER w, min(price) OVER w,
    count(DISTINCT channel) OVER w, price - max(price) FILTER (WHERE channel = 'Google') OVER w
FROM bid
WINDOW w AS (PARTITION BY bidder ORDER BY `dateTime` ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
