CREATE TABLE many_bids (bidder BIGINT, n BIGINT) WITH (${sink});

INSERT INTO many_bids
SELECT bidder, count(*) AS n FROM bid GROUP BY bidder HAVING count(*) > 20;
