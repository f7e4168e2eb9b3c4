-- Windows of two tables, joined by their bounds.
CREATE TABLE tumble_join_window (starttime TIMESTAMP(3), bids BIGINT, auctions BIGINT) WITH (${sink});

INSERT INTO tumble_join_window
SELECT B.window_start, B.n, A.n
FROM (SELECT window_start, window_end, count(*) AS n
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
    GROUP BY window_start, window_end) B
JOIN (SELECT window_start, window_end, count(*) AS n
    FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
    GROUP BY window_start, window_end) A
ON A.window_start = B.window_start AND A.window_end = B.window_end;
