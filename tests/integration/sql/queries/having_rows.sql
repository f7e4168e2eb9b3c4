CREATE TABLE having_rows (bidder BIGINT, bids BIGINT, dearest BIGINT) WITH (${sink});

INSERT INTO having_rows
SELECT bidder, count(*), max(price) FROM bid
GROUP BY bidder HAVING count(*) > 20 AND min(price) < 1000;
