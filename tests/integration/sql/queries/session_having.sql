-- Sessions of more than one bid.
CREATE TABLE session_having (bidder BIGINT, begun TIMESTAMP(3), ended TIMESTAMP(3), n BIGINT, auctions BIGINT) WITH (${sink});

INSERT INTO session_having
SELECT bidder, window_start, window_end, count(*), count(DISTINCT auction)
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND))
GROUP BY bidder, window_start, window_end
HAVING count(*) > 1;
