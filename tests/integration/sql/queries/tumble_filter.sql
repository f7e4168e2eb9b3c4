CREATE TABLE tumble_filter (starttime TIMESTAMP(3), google BIGINT, dear BIGINT) WITH (${sink});

INSERT INTO tumble_filter
SELECT window_start, count(*) FILTER (WHERE channel = 'Google'), max(price) FILTER (WHERE MOD(bidder, 2) = 1)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end;
