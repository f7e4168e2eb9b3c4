-- The first bid of every auction in each window.
CREATE TABLE window_first_bids (auction BIGINT, endtime TIMESTAMP(3), price BIGINT) WITH (${sink});

INSERT INTO window_first_bids
SELECT auction, window_end, price FROM (
    SELECT auction, window_end, price, ROW_NUMBER() OVER (
        PARTITION BY window_start, window_end, auction ORDER BY price ASC) AS rn
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND)))
WHERE rn = 1;
