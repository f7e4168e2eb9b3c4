CREATE TABLE group_by_case (size VARCHAR, bids BIGINT, spent BIGINT) WITH (${sink});

INSERT INTO group_by_case
SELECT CASE WHEN price < 1000 THEN 'small' WHEN price < 100000 THEN 'middle' ELSE 'large' END,
    count(*), sum(price)
FROM bid
GROUP BY CASE WHEN price < 1000 THEN 'small' WHEN price < 100000 THEN 'middle' ELSE 'large' END;
