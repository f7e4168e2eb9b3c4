CREATE TABLE side_input (key BIGINT, `value` VARCHAR) WITH (
    'connector' = 'file', 'path' = '${side_input}', 'format' = 'csv');

CREATE TABLE q13 (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3),
    `value` VARCHAR) WITH (${sink});

INSERT INTO q13
SELECT
    B.auction,
    B.bidder,
    B.price,
    B.`dateTime`,
    S.`value`
FROM (SELECT *, PROCTIME() as p_time FROM bid) B
JOIN side_input FOR SYSTEM_TIME AS OF B.p_time AS S
ON mod(B.auction, 10000) = S.key;
