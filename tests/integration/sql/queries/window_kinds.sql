-- Aggregates with FILTER and DISTINCT beside each other, per channel and window.
CREATE TABLE window_kinds (starts TIMESTAMP(3), channel VARCHAR, num BIGINT, dear BIGINT, bidders BIGINT, last TIMESTAMP(3))
WITH (${sink});

INSERT INTO window_kinds
SELECT window_start, channel, count(*), sum(price) FILTER (WHERE price > 5000), count(DISTINCT bidder) FILTER (WHERE MOD(auction, 2) = 0),
    max(`dateTime`)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY window_start, window_end, channel;
