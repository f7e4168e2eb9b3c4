-- A condition on the window, before its rows are counted.
CREATE TABLE window_where (starttime TIMESTAMP(3), n BIGINT, dearest BIGINT) WITH (${sink});

INSERT INTO window_where
SELECT window_start, count(*) AS n, max(price) AS dearest
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '3' SECOND))
WHERE EXTRACT(SECOND FROM window_start) < 30
GROUP BY window_start, window_end;
