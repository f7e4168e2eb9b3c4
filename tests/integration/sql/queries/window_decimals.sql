CREATE TABLE window_decimals (window_start TIMESTAMP(3), channel STRING, total DECIMAL(38, 2),
    mean DECIMAL(38, 6), least DECIMAL(12, 2), greatest DECIMAL(12, 2), kinds BIGINT,
    owed DECIMAL(38, 2)) WITH (${sink});

INSERT INTO window_decimals
SELECT window_start, channel, sum(CAST(price * 0.01 - 1000.5 AS DECIMAL(12, 2))) AS total,
    CAST(avg(+CAST(price * 0.01 - 1000.5 AS DECIMAL(12, 2))) AS DECIMAL(38, 6)) AS mean,
    min(CAST(price * 0.01 - 1000.5 AS DECIMAL(12, 2))) AS least,
    max(CAST(price * 0.01 - 1000.5 AS DECIMAL(12, 2))) AS greatest,
    count(DISTINCT CAST(price * 0.001 AS DECIMAL(12, 1))) AS kinds,
    sum(price * 0.01 - 1000.5) FILTER (WHERE price < 100050) AS owed
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY window_start, window_end, channel;
