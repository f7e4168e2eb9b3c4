-- The three dearest bids of every window, as rows.
CREATE TABLE window_top_rows (endtime TIMESTAMP(3), price BIGINT, rn BIGINT) WITH (${sink});

INSERT INTO window_top_rows
SELECT window_end, price, rn FROM (
    SELECT window_end, price, ROW_NUMBER() OVER (
        PARTITION BY window_start, window_end ORDER BY price DESC) AS rn
    FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND)))
WHERE rn <= 3;
