-- Windows of two streams in one table, grouped again.
CREATE TABLE union_of_windows (endtime TIMESTAMP(3), n BIGINT) WITH (${sink});

INSERT INTO union_of_windows
SELECT window_end, sum(n) FROM (
    SELECT window_end, count(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
    GROUP BY window_start, window_end
    UNION ALL
    SELECT window_end, count(*) FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
    GROUP BY window_start, window_end)
GROUP BY window_end;
