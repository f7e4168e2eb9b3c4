-- Rises of the price, counted per window: the rows of LAG keep their event time.
CREATE VIEW rises AS
SELECT `dateTime`, price - lag(price) OVER (PARTITION BY auction ORDER BY `dateTime`) AS rise FROM bid;

CREATE TABLE over_lag_windows (endtime TIMESTAMP(3), rises BIGINT, firsts BIGINT) WITH (${sink});

INSERT INTO over_lag_windows
SELECT window_end, count(*) FILTER (WHERE rise > 0), count(*) FILTER (WHERE rise IS NULL)
FROM TABLE(TUMBLE(TABLE rises, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end;
