-- Windows of what OVER gives: its rows keep their event time.
CREATE VIEW numbered AS
SELECT bidder, `dateTime`, count(*) OVER (PARTITION BY bidder ORDER BY `dateTime`) AS n FROM bid;

CREATE TABLE over_windows (starttime TIMESTAMP(3), firsts BIGINT, most BIGINT) WITH (${sink});

INSERT INTO over_windows
SELECT window_start, count(*) FILTER (WHERE n = 1), max(n)
FROM TABLE(TUMBLE(TABLE numbered, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end;
