CREATE TABLE having_count (auction BIGINT, bids BIGINT, bidders BIGINT) WITH (${sink});

INSERT INTO having_count
SELECT auction, count(*), count(DISTINCT bidder)
FROM bid GROUP BY auction HAVING count(*) > 3 AND max(price) > 100000;
