-- Windows by several sets of keys.
CREATE TABLE grouping_sets (starttime TIMESTAMP(3), channel VARCHAR, bidder BIGINT, n BIGINT, dearest BIGINT,
    which BIGINT) WITH (${sink});

INSERT INTO grouping_sets
SELECT window_start, channel, bidder, count(*), max(price), GROUPING(channel, bidder)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, GROUPING SETS ((channel), (bidder), ());
