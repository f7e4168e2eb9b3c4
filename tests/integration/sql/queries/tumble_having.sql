-- Windows with few bids are left out, by an aggregate that is not shown.
CREATE TABLE tumble_having (auction BIGINT, endtime TIMESTAMP(3), most BIGINT) WITH (${sink});

INSERT INTO tumble_having
SELECT auction, window_end, max(price)
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND))
GROUP BY auction, window_start, window_end
HAVING count(*) > 3 AND min(price) < 2000;
