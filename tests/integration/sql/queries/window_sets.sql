-- Several sets of keys beside a window.
CREATE TABLE window_sets (start TIMESTAMP(3), channel VARCHAR, n BIGINT) WITH (${sink});

INSERT INTO window_sets
SELECT window_start, channel, count(*)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
WHERE price > 500
GROUP BY window_start, window_end, GROUPING SETS ((channel), ());
