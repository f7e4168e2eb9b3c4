-- Overlapping windows of a key that is computed.
CREATE TABLE hop_groups (kind BIGINT, endtime TIMESTAMP(3), n BIGINT, total BIGINT) WITH (${sink});

INSERT INTO hop_groups
SELECT auction % 7, window_end, count(*), sum(price)
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND, INTERVAL '3' SECOND))
WHERE bidder % 2 = 1
GROUP BY auction % 7, window_start, window_end;
