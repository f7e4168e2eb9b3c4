-- The bids of each bidder beside the next ones: the last ones come at the end of the input.
CREATE TABLE over_lead (bidder BIGINT, `dateTime` TIMESTAMP(3), next BIGINT, third BIGINT, until TIMESTAMP(3),
    before BIGINT, n BIGINT) WITH (${sink});

INSERT INTO over_lead
SELECT bidder, `dateTime`, lead(price) OVER w, lead(price, 3, price + 1) OVER w, lead(`dateTime`) OVER w,
    lag(price) OVER w, count(*) OVER w
FROM bid
WINDOW w AS (PARTITION BY bidder ORDER BY `dateTime`);
