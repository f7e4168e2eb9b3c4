CREATE TABLE hop_distinct (starttime TIMESTAMP(3), channel VARCHAR, bidders BIGINT) WITH (${sink});

INSERT INTO hop_distinct
SELECT window_start, channel, count(DISTINCT bidder)
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '6' SECOND))
GROUP BY window_start, window_end, channel HAVING count(DISTINCT bidder) > 5;
