-- Rows without a partition of their own are one, and so is everything without PARTITION BY.
CREATE TABLE lag_null_partition (auction BIGINT, `dateTime` TIMESTAMP(3), before BIGINT, n BIGINT, of_all BIGINT) WITH (${sink});

INSERT INTO lag_null_partition
SELECT auction, `dateTime`,
    lag(price) OVER (PARTITION BY nullif(channel, 'Google'), auction % 2 ORDER BY `dateTime`),
    row_number() OVER (PARTITION BY nullif(channel, 'Google'), auction % 2 ORDER BY `dateTime`),
    lag(auction, 3, 0) OVER (ORDER BY `dateTime`)
FROM bid;
