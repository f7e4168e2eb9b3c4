-- What was bid within two seconds, and in all so far.
CREATE TABLE over_range (auction BIGINT, price BIGINT, lately BIGINT, least BIGINT, n BIGINT,
    channels BIGINT) WITH (${sink});

INSERT INTO over_range
SELECT auction, price,
    sum(price) OVER (PARTITION BY auction ORDER BY `dateTime`
        RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW),
    min(price) OVER (PARTITION BY auction ORDER BY `dateTime`
        RANGE BETWEEN INTERVAL '2' SECOND PRECEDING AND CURRENT ROW),
    count(*) OVER (PARTITION BY channel ORDER BY `dateTime`),
    count(DISTINCT channel) OVER (ORDER BY `dateTime` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
FROM bid;
