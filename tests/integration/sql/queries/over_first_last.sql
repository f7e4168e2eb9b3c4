-- First and last values of frames, which are those that are not NULL, as in Flink.
CREATE TABLE over_first_last (bidder BIGINT, `dateTime` TIMESTAMP(3), first VARCHAR, latest VARCHAR,
    first_of_three BIGINT, last_of_second BIGINT, second_price BIGINT, third_of_four BIGINT) WITH (${sink});

INSERT INTO over_first_last
SELECT bidder, `dateTime`,
    first_value(CASE WHEN price > 1000 THEN channel END) OVER (PARTITION BY bidder ORDER BY `dateTime`),
    last_value(CASE WHEN price > 1000 THEN channel END) OVER (PARTITION BY bidder ORDER BY `dateTime`),
    first_value(CASE WHEN price > 500 THEN price END) OVER (
        PARTITION BY bidder ORDER BY `dateTime` ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
    last_value(CASE WHEN price < 500 THEN price END) OVER (
        PARTITION BY bidder ORDER BY `dateTime` RANGE BETWEEN INTERVAL '1' SECOND PRECEDING AND CURRENT ROW),
    nth_value(price, 2) OVER (PARTITION BY bidder ORDER BY `dateTime`),
    nth_value(price, 3) OVER (PARTITION BY bidder ORDER BY `dateTime` ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
FROM bid;
