-- Each bid with the seller of its auction, as the auction stood; windows go on behind it.
CREATE TABLE temporal_left_join (starttime TIMESTAMP(3), seller BIGINT, n BIGINT) WITH (${sink});

CREATE VIEW sold AS
SELECT B.`dateTime`, A.seller
FROM bid B
LEFT JOIN auction FOR SYSTEM_TIME AS OF B.`dateTime` AS A
ON B.auction = A.id AND A.category > 11;

INSERT INTO temporal_left_join
SELECT window_start, seller, count(*)
FROM TABLE(TUMBLE(TABLE sold, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, seller;
