-- Per window, the channels with the most bids, by RANK and by DENSE_RANK.
CREATE VIEW channel_counts AS
SELECT window_start, window_end, channel, count(*) / 20 AS n
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end, channel;

CREATE TABLE window_ranks (endtime TIMESTAMP(3), channel VARCHAR, n BIGINT, r BIGINT, kind VARCHAR) WITH (${sink});

INSERT INTO window_ranks
SELECT window_end, channel, n, r, 'rank' FROM (
    SELECT *, RANK() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS r FROM channel_counts)
WHERE r <= 2
UNION ALL
SELECT window_end, channel, n, r, 'dense' FROM (
    SELECT *, DENSE_RANK() OVER (PARTITION BY window_start, window_end ORDER BY n DESC) AS r FROM channel_counts)
WHERE r <= 2;
