-- Values beside the aggregates of windows: one for all, and one of the window's end.
CREATE TABLE scalar_windows (endtime TIMESTAMP(3), n BIGINT, of_all BIGINT, begun BIGINT) WITH (${sink});

INSERT INTO scalar_windows
SELECT window_end, count(*), (SELECT count(*) FROM auction),
    (SELECT count(*) FROM auction A WHERE date_trunc('second', A.`dateTime`) = window_end)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end;
