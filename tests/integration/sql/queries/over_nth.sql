-- The second bid of each bidder, at each of them.
CREATE TABLE over_nth (bidder BIGINT, price BIGINT, second BIGINT) WITH (${sink});

INSERT INTO over_nth
SELECT bidder, price, nth_value(price, 2) OVER (PARTITION BY bidder ORDER BY `dateTime`
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
FROM bid;
